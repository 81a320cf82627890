import numpy as np
import polars as pl
import pytest
from rich.console import Console
from scipy import stats

from piavae_jax.errors import UserError
from piavae_jax.evaluation import (
    UserMetrics,
    compare,
    comparisons_table,
    from_frame,
    groups_table,
    read_user_metrics,
    summarize,
    systems_table,
    to_frame,
    write_user_metrics,
)


def user_metrics(seed=0, *, num_users=30, users=None, shift=0.0):
    rng = np.random.default_rng(seed)
    num_target = np.arange(num_users) % 5
    values = {"ndcg@100": rng.random(num_users) + shift, "recall@20": rng.random(num_users) + shift}
    values = {label: np.where(num_target > 0, column, np.nan) for label, column in values.items()}
    users = pl.Series(np.arange(num_users)) if users is None else users
    return UserMetrics(users, np.full(num_users, 9), num_target, values)


def text_of(table, width=200):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_summary_by_hand():
    summary = summarize(np.array([0.0, np.nan, 1.0, 0.5, np.nan]))
    assert summary == (0.5, pytest.approx(0.5 / np.sqrt(3)), 3, 2)


def test_summary_agrees_with_scipy():
    metrics = user_metrics()
    summary = metrics.summary("ndcg@100")
    present = metrics["ndcg@100"][~np.isnan(metrics["ndcg@100"])]
    assert summary.standard_error == pytest.approx(stats.sem(present), rel=1e-12)
    assert summary.mean == pytest.approx(stats.describe(present).mean, rel=1e-12)
    assert metrics.summaries()["ndcg@100"] == summary


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_no_user_has_no_mean(values):
    summary = summarize(np.array(values))
    assert np.isnan(summary.mean)
    assert np.isnan(summary.standard_error)
    assert (summary.users, summary.users_without_targets) == (0, len(values))


def test_one_user_has_no_standard_error():
    summary = summarize(np.array([0.25]))
    assert summary.mean == 0.25
    assert np.isnan(summary.standard_error)


def test_unknown_metric_is_named():
    with pytest.raises(UserError, match=r'"mrr@5" was not computed: choose from ndcg@100, recall@20'):
        user_metrics().summary("mrr@5")


@pytest.mark.parametrize("users", [pl.Series(range(1000, 1030)), pl.Series([f"Zoë {i}" for i in range(30)])])
def test_parquet_round_trip(tmp_path, users):
    written = user_metrics(users=users)
    path = tmp_path / "new" / "test.parquet"
    write_user_metrics(written, path)
    read = read_user_metrics(path)
    assert read.users.equals(users)
    np.testing.assert_array_equal(read.num_input, written.num_input)
    np.testing.assert_array_equal(read.num_target, written.num_target)
    assert list(read.values) == list(written.values)
    for label, column in written.values.items():
        np.testing.assert_array_equal(read[label], column)
    assert [file.name for file in path.parent.iterdir()] == ["test.parquet"]


def test_parquet_says_null_for_users_without_targets():
    frame = to_frame(user_metrics())
    assert frame.columns == ["user_id", "n_input", "n_target", "ndcg@100", "recall@20"]
    assert frame["ndcg@100"].null_count() == 6
    assert frame["ndcg@100"].mean() == pytest.approx(user_metrics().summary("ndcg@100").mean)


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "test.parquet"
    write_user_metrics(user_metrics(), path)

    def fail_half_way(frame, target):
        target.write_bytes(b"PAR1 half")
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail_half_way)
    with pytest.raises(OSError, match="disk full"):
        write_user_metrics(user_metrics(1), path)
    np.testing.assert_array_equal(read_user_metrics(path)["ndcg@100"], user_metrics()["ndcg@100"])
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_no_results_are_refused(tmp_path):
    with pytest.raises(UserError, match="missing"):
        read_user_metrics(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("not a table")
    with pytest.raises(UserError, match="cannot be read"):
        read_user_metrics(tmp_path / "text.parquet")
    pl.DataFrame({"user_id": [1], "n_input": [2]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="n_target and a metric"):
        read_user_metrics(tmp_path / "other.parquet")


def test_repeated_users_are_refused():
    frame = to_frame(user_metrics())
    with pytest.raises(UserError, match="each user_id once"):
        from_frame(pl.concat([frame, frame.head(1)]))


def test_metrics_must_be_numbers():
    frame = to_frame(user_metrics()).with_columns(pl.lit("good").alias("ndcg@100"))
    with pytest.raises(UserError, match='numbers in column "ndcg@100", got String'):
        from_frame(frame)


def test_systems_table_shows_means_and_counts():
    text = text_of(systems_table({"EASE": user_metrics(0), "Multi-VAE": user_metrics(1)}, title="ML-1M"))
    summary = user_metrics(1).summary("recall@20")
    row = next(line for line in text.splitlines() if "Multi-VAE" in line)
    assert f"{summary.mean:.4f} ± {summary.standard_error:.4f}" in row
    assert "24 users, 6 left out for want" in " ".join(text.split())
    assert "ML-1M" in text


def test_narrow_console_cuts_no_number():
    text = text_of(systems_table({"Multi-VAE": user_metrics(0)}), width=60)
    summary = user_metrics(0).summary("ndcg@100")
    assert f"{summary.mean:.4f}" in text
    assert f"{summary.standard_error:.4f}" in text
    assert "…" not in text


def test_groups_table_has_a_row_for_each_group_and_system():
    lines = text_of(groups_table({"a": user_metrics(0), "b": user_metrics(1)})).splitlines()
    assert sum(" 11-50 " in line for line in lines) == 2
    empty = [line for line in lines if "51-100" in line]
    assert len(empty) == 2
    assert all(" - " in line and line.rstrip().endswith(" 0") for line in empty)


def test_a_table_of_no_comparison_is_empty():
    assert comparisons_table([]).row_count == 0


def test_comparisons_table_shows_the_interval():
    (row, *_) = compare({"a": user_metrics(0), "b": user_metrics(1)}, "a", resamples=200)
    text = text_of(comparisons_table([row]))
    assert f"{row.low:+.4f} to {row.high:+.4f}" in text
    assert f"{row.relative:+.2%}" in text
