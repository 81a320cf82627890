import dataclasses

import polars as pl
import prepare
import pytest

from piavae_jax.data.cleaning import clean
from piavae_jax.data.liang_csv import read_liang_csv
from piavae_jax.data.protocol import StrongGeneralization
from piavae_jax.data.readers import read_movielens

pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "ratings.csv"
    prepare.ratings(20_000).write_csv(path)
    return path


@pytest.fixture(scope="module")
def splits(ratings, tmp_path_factory):
    """Ours and that of pandas."""
    import pandas_preparation

    folder = tmp_path_factory.mktemp("pandas")
    pandas_preparation.prepare(ratings, folder, 12)
    ours = StrongGeneralization(12).split(clean(read_movielens(ratings), min_rating=4), name="x")
    return ours, read_liang_csv(folder, name="x")


def test_the_file_is_in_the_published_format(ratings):
    assert ratings.read_text().startswith("userId,movieId,rating,timestamp\n1,")
    table = pl.read_csv(ratings)
    assert table.height == 20_000
    assert table.select("userId", "movieId").is_unique().all()
    assert table["userId"].is_sorted()
    assert sorted(table["rating"].unique()) == prepare.STARS.tolist()
    assert table.select(pl.col("rating") > 3.5).mean().item() == pytest.approx(0.5, abs=0.02)


def test_the_reference_gives_the_same_split(splits):
    prepare.check_same_split(*splits)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_another_split_is_told_apart(splits, part):
    ours, theirs = splits
    held_out = getattr(theirs, part)
    swapped = dataclasses.replace(held_out, input=held_out.target, target=held_out.input)
    with pytest.raises(AssertionError, match=f"{part} input"):
        prepare.check_same_split(ours, dataclasses.replace(theirs, **{part: swapped}))


def test_the_command_ends_with_its_figures(run):
    result = run(prepare.main, "--rows", "20000", "--rounds", "1")
    assert result["rows"] == 20_000
    assert result["test_targets"] > 0
    assert all(result[key] > 0 for key in ("seconds", "pandas_seconds", "ratio", "peak_rss_mb", "pandas_peak_rss_mb"))
