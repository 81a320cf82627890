import csv
import json
import sys

import numpy as np
import polars as pl
import pytest
from fakes import METRICS, fake_system
from matplotlib import image
from rich.console import Console
from scipy import stats

from piavae_jax.benchmark.folder import open_folder
from piavae_jax.benchmark.report import make_report, write_report
from piavae_jax.benchmark.runner import run_systems
from piavae_jax.errors import UserError
from piavae_jax.evaluation import read_user_metrics
from piavae_jax.training.epoch import NonFiniteLoss

UPLIFTS = (("low", "top"), ("low", "absent"))
FILES = {"results.md", "results.csv", "results.json", "comparisons.csv", "comparisons.png"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dataset):
    """Three systems that succeed, `top` in two of three seeds, and one that does not."""
    root = tmp_path_factory.mktemp("benchmark") / "out"
    open_folder(root, dataset, command="python bin/benchmark.py --data 'a | b'")
    quiet = Console(quiet=True)
    systems = [
        fake_system("mid", 0.41, seeds=False),
        fake_system("top", 0.5, label="Top | best"),
        fake_system("low", 0.4),
    ]
    run_systems(systems, dataset, root, seeds=2, console=quiet)
    error = NonFiniteLoss("the loss is nan")
    diverging = [fake_system("bad", error=error), fake_system("top", label="Top | best", error=error)]
    run_systems(diverging, dataset, root, seeds=3, console=quiet)
    return root


@pytest.fixture
def written(folder, console):
    report = make_report(folder, uplifts=UPLIFTS)
    write_report(report, folder, console)
    return report


def per_user(folder, system, metric):
    """float64[seeds, V], without the users who have no held-out items."""
    paths = sorted((folder / system).glob("seed-*/test_users.parquet"))
    return np.array([pl.read_parquet(path)[metric].drop_nulls().to_numpy() for path in paths])


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_sorted_and_agree_with_scipy(folder, written):
    rows = read_csv(folder / "results.csv")
    assert [row["system"] for row in rows] == ["top", "mid", "low", "bad"]
    assert [(row["seeds"], row["failed"]) for row in rows] == [("2", "1"), ("1", "0"), ("2", "0"), ("0", "3")]
    for row in rows[:3]:
        for metric in METRICS:
            users = per_user(folder, row["system"], metric)
            assert float(row[metric]) == pytest.approx(users.mean(), rel=1e-12)
            assert float(row[f"{metric}_standard_error"]) == pytest.approx(stats.sem(users.mean(axis=0)), rel=1e-12)
            if len(users) > 1:
                deviation = float(row[f"{metric}_seed_deviation"])
                assert deviation == pytest.approx(stats.tstd(users.mean(axis=1)), rel=1e-9)
    assert rows[1]["ndcg@100_seed_deviation"] == rows[3]["ndcg@100"] == ""
    assert [row["train_seconds"] for row in rows] == ["2.5", "2.0", "2.5", ""]  # the mean of 2 and 3 s
    assert rows[0]["parameters"] == "1234"


def test_every_pair_is_compared_in_the_order_of_the_table(folder, written):
    rows = read_csv(folder / "comparisons.csv")
    assert [(row["system"], row["baseline"]) for row in rows[:: len(METRICS)]] == [
        ("top", "mid"), ("top", "low"), ("mid", "low")
    ]  # fmt: skip
    for row in rows:
        new, old = (per_user(folder, row[side], row["metric"]).mean(axis=0) for side in ("system", "baseline"))
        assert float(row["difference"]) == pytest.approx(np.mean(new - old), rel=1e-9)
        assert float(row["relative"]) == pytest.approx(new.mean() / old.mean() - 1, rel=1e-9)
        assert float(row["p_value"]) == pytest.approx(stats.ttest_rel(new, old).pvalue, rel=1e-6)
        assert float(row["low"]) < float(row["difference"]) < float(row["high"])


def test_json_holds_the_table_the_uplifts_and_every_run(folder, written):
    results = json.loads((folder / "results.json").read_text())
    assert results["data"]["name"] == "tiny"
    top, _, _, bad = results["systems"]
    assert [run["seed"] for run in top["runs"]] == [0, 1, 2]
    assert top["runs"][0]["settings"] == {"a": 1}
    assert top["runs"][1]["test"]["ndcg@100"] == pytest.approx(per_user(folder, "top", "ndcg@100")[1].mean())
    assert bad["runs"][0] == {"seed": 0, "error": "NonFiniteLoss: the loss is nan"}
    assert [(row["system"], row["baseline"]) for row in results["uplifts"]] == [("LOW", "Top | best")] * 2
    assert all(row["high"] < 0 for row in results["uplifts"])


def test_validation_means_are_those_of_validation_users(folder, written):
    paths = [folder / "low" / f"seed-{seed}" / "validation_users.parquet" for seed in range(2)]
    expected = np.mean([read_user_metrics(path).summary("ndcg@100").mean for path in paths])
    row = next(row for row in read_csv(folder / "results.csv") if row["system"] == "low")
    assert float(row["ndcg@100_validation"]) == pytest.approx(expected, rel=1e-12)


def tables_of(text):
    """The tables of a Markdown page, as lists of rows of cells."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[line.replace(r"\|", "/").strip("|").split("|") for line in block] for block in blocks]


def test_markdown_is_well_formed(folder, written):
    page = (folder / "results.md").read_text()
    results, uplifts = tables_of(page)
    for table in (results, uplifts):
        assert {len(row) for row in table} == {8 if table is uplifts else 7}
        assert all(set(cell.strip()) <= set("-:") for cell in table[1])
    assert [row[0].strip() for row in results[2:]] == ["Top / best", "MID", "LOW", "BAD"]
    assert results[2][1].strip().startswith("**.")
    assert not any("**" in cell for row in results[3:] for cell in row)
    assert results[2][4].strip() == "2 of 3"
    assert results[5][4].strip() == "failed"
    assert "![Differences in nDCG@100 between all pairs of systems](comparisons.png)" in page
    assert "- BAD, seed 1, failed: NonFiniteLoss: the loss is nan" in page
    assert "`python bin/benchmark.py --data 'a | b'`" in page
    assert "\n\n\n" not in page


def test_the_console_shows_both_tables_and_what_failed(folder, written, console):
    printed = console.file.getvalue()
    rows = [line.split()[0] for line in printed.splitlines() if " ± " in line]
    assert rows[:3] == ["Top", "MID", "LOW"]
    assert "36 test users, 4 left out for want of held-out items" in printed
    assert "comparisons: 95 % bootstrap interval" in printed
    assert "LOW minus Top | best" in printed
    assert printed.count("failed: NonFiniteLoss: the loss is nan") == 4


def test_a_narrow_console_gets_two_tables_and_every_number_whole(folder, written):
    def show(width):
        console = Console(width=width)
        with console.capture() as capture:
            write_report(written, folder, console)
        return [line.split() for line in capture.get().splitlines() if line.startswith(" Top | best ")]

    (whole,), (quality, cost) = show(120), show(70)
    assert whole == quality + cost[3:]  # the label's three words are there twice


def test_the_best_of_a_metric_is_bold(folder, written):
    console = Console(width=160, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        write_report(written, folder, console)
    bold = [line for line in capture.get().splitlines() if "\x1b[1m." in line]
    assert len(bold) == 1
    assert "Top | best" in bold[0]


def test_the_picture_is_blue_above_the_diagonal_and_red_below(folder, written):
    pixels = image.imread(folder / "comparisons.png")[..., :3]
    height, width, _ = pixels.shape
    assert 400 < height < 2000
    assert 400 < width < 2000
    blue, red = pixels[..., 2] - pixels[..., 0] > 0.25, pixels[..., 0] - pixels[..., 2] > 0.25
    left = slice(0, int(0.85 * width))  # the scale stands on the right
    (blue_rows, blue_columns), (red_rows, red_columns) = np.nonzero(blue[:, left]), np.nonzero(red[:, left])
    assert min(len(blue_rows), len(red_rows)) > 0.02 * height * width
    assert blue_rows.mean() < red_rows.mean()
    assert blue_columns.mean() > red_columns.mean()


def test_a_report_made_again_is_the_same(folder, written, console):
    before = {name: (folder / name).read_bytes() for name in FILES}
    write_report(make_report(folder, uplifts=UPLIFTS), folder, console)
    assert {name: (folder / name).read_bytes() for name in FILES} == before
    assert {path.name for path in folder.iterdir() if path.is_file()} == FILES | {"benchmark.json"}


def test_without_matplotlib_there_are_tables_all_the_same(folder, written, console, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_report(written, folder, console)
    assert "no comparisons.png: pictures need matplotlib" in console.file.getvalue()
    assert not (folder / "comparisons.png").exists()
    assert "comparisons.png" not in (folder / "results.md").read_text()


def test_one_system_has_a_table_and_nothing_to_compare(tmp_path, dataset, console):
    open_folder(tmp_path / "out", dataset, command="x")
    with pytest.raises(UserError, match="holds no run that has ended"):
        make_report(tmp_path / "out", uplifts=UPLIFTS)
    run_systems([fake_system("a")], dataset, tmp_path / "out", seeds=1, console=console)
    write_report(make_report(tmp_path / "out", uplifts=UPLIFTS), tmp_path / "out", console)
    assert (tmp_path / "out" / "comparisons.csv").read_text().startswith("system,baseline,metric,users")
    assert len(read_csv(tmp_path / "out" / "comparisons.csv")) == 0
    assert not (tmp_path / "out" / "comparisons.png").exists()


def test_a_label_is_shown_as_it_is_written(tmp_path, dataset, console):
    open_folder(tmp_path / "out", dataset, command="x")
    systems = [fake_system("a", label="keep in [low, high]"), fake_system("b", 0.5, label="until [/] ends")]
    run_systems(systems, dataset, tmp_path / "out", seeds=1, console=Console(quiet=True))
    write_report(make_report(tmp_path / "out", uplifts=(("b", "a"),)), tmp_path / "out", console)
    assert "until [/] ends minus keep in [low, high]" in console.file.getvalue()
    assert [line.strip().split("  ")[0] for line in console.file.getvalue().splitlines() if "±" in line][:2] == [
        "until [/] ends", "keep in [low, high]",
    ]  # fmt: skip


def test_a_benchmark_in_which_all_failed_says_so(tmp_path, dataset, console):
    open_folder(tmp_path / "out", dataset, command="x")
    run_systems([fake_system("a", error=MemoryError())], dataset, tmp_path / "out", seeds=1, console=console)
    write_report(make_report(tmp_path / "out", uplifts=UPLIFTS), tmp_path / "out", console)
    assert "A, seed 0, failed: MemoryError" in console.file.getvalue()
    assert read_csv(tmp_path / "out" / "results.csv")[0]["failed"] == "1"
