"""Everyone in a log: the same lists as one by one, whatever the file, the order, the parts and the shards."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from batch_jobs import PART_ROWS, K, parts_of, random_log, read_all, run_job
from random_runs import write_run
from tiny_runs import NUM_ITEMS, tiny_config

from piavae_jax import UserError
from piavae_jax.serving import scorer
from piavae_jax.serving.batch import output, spill
from piavae_jax.serving.batch.job import Job, Shard, parse_shard, workspace
from piavae_jax.training.restore import restore
from piavae_jax.training.results import make_run_evaluator


@pytest.fixture(scope="module")
def whole(pia_run, log, tmp_path_factory):
    """A finished job."""
    output = tmp_path_factory.mktemp("recs") / "whole"
    return output, *run_job(pia_run, log, output)


def expected_table(recommender, log, **arguments):
    table = recommender.recommend(pl.read_parquet(log), arguments.pop("k", K), **arguments)
    return table.with_columns(pl.col("source").cast(pl.String)).sort("user_id", "rank")


def check_equal(found, expected):
    assert found.drop("score").equals(expected.drop("score"))
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5, atol=1e-5)


def test_everyone_gets_what_the_recommender_gives(whole, recommender, log):
    folder, counts, printed = whole
    found = read_all(folder)
    check_equal(found, expected_table(recommender, log))
    known = recommender.read(pl.read_parquet(log))
    assert counts.users == found["user_id"].n_unique() == len(known.users)
    assert counts.popular_users == 2
    assert counts.unknown_interactions == known.unknown.sum()
    assert counts.interactions == known.rows.nnz
    assert counts.recommendations == found.height
    assert json.loads((folder / "_SUCCESS").read_text()) == counts._asdict()
    for words in ("part 7 of 7", f"to {counts.users} users", "2 users have no known item", "interactions dropped"):
        assert words in printed, printed
    assert len(parts_of(folder)) == -(-pl.read_parquet(log).height // PART_ROWS) == 7
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".parquet") == ["_SUCCESS", "_manifest.json"]


def test_types_are_plain_and_users_are_not_split(whole):
    folder, _, _ = whole
    files = sorted(folder.glob("part-*.parquet"))
    for file in files:
        types = {field.name: str(field.type) for field in pq.read_schema(file)}
        assert types == {"user_id": "int64", "item_id": "string", "score": "float", "rank": "int32", "source": "string"}
    users = [set(pl.read_parquet(file)["user_id"]) for file in files]
    assert sum(map(len, users)) == len(set.union(*users))


@pytest.mark.parametrize("kind", ["folder", "csv", "string users"])
def test_other_files_give_the_same_lists(kind, pia_run, whole, tmp_path):
    table, source = random_log(), tmp_path / "log.csv"
    if kind == "csv":
        table.write_csv(source)
    elif kind == "folder":
        source = tmp_path / "log"
        source.mkdir()
        table = table.sample(fraction=1.0, shuffle=True, seed=9)
        table[:200].write_parquet(source / "b.parquet")
        table[200:].write_parquet(source / "a.parquet")
    else:
        source = tmp_path / "log.parquet"
        table.with_columns(pl.format("user {}", "user").cast(pl.Categorical).alias("user")).write_parquet(source)
    run_job(pia_run, source, tmp_path / "recs")
    found, expected = read_all(tmp_path / "recs"), read_all(whole[0])
    if kind == "string users":
        found = found.with_columns(pl.col("user_id").str.strip_prefix("user ").cast(pl.Int64))
        check_equal(found.sort("user_id", "rank"), expected)
    else:
        assert parts_of(tmp_path / "recs") == parts_of(whole[0])


def test_chunks_of_the_log_change_nothing(pia_run, log, whole, tmp_path, monkeypatch):
    write = spill.write_spill
    monkeypatch.setattr("piavae_jax.serving.batch.runner.write_spill", lambda *a, **b: write(*a, chunk_rows=37, **b))
    run_job(pia_run, log, tmp_path / "recs")
    assert parts_of(tmp_path / "recs") == parts_of(whole[0])


@pytest.mark.parametrize("row_group", [1, 2 * K, 10**6])
def test_row_groups_change_nothing(row_group, pia_run, log, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(output, "_ROW_GROUP", row_group)
    monkeypatch.setattr(scorer, "BATCH_SIZES", (2,))
    counts, _ = run_job(pia_run, log, tmp_path / "recs")
    assert counts == whole[1]
    check_equal(read_all(tmp_path / "recs"), read_all(whole[0]))
    groups = pq.read_metadata(tmp_path / "recs" / "part-00000.parquet").num_row_groups
    assert (groups > 1) == (row_group < 10**6)


def test_lists_of_items_and_seen_ones(pia_run, recommender, log, tmp_path):
    (tmp_path / "allow.txt").write_text("".join(f"i{number}\n" for number in range(0, 40, 2)))
    (tmp_path / "deny.txt").write_bytes(b"\xef\xbb\xbfi4\r\ni6 \r\n\r\nnothing we know\r\n")  # as Notepad saves it
    options = {"allow": tmp_path / "allow.txt", "deny": tmp_path / "deny.txt", "exclude_seen": False}
    run_job(pia_run, log, tmp_path / "recs", k=30, **options)
    allow = [f"i{number}" for number in range(0, 40, 2)]
    expected = expected_table(recommender, log, k=30, allow=allow, deny=["i4", "i6"], exclude_seen=False)
    check_equal(read_all(tmp_path / "recs"), expected)


def test_shards_together_are_the_whole(pia_run, log, whole, tmp_path):
    shards = [Shard(number, 3) for number in (2, 0, 1)]
    results = [run_job(pia_run, log, tmp_path / "recs", shard=shard) for shard in shards]
    assert [counts is None for counts, _ in results] == [True, True, False]
    assert "5 of 7 parts in" in results[0][1]
    assert parts_of(tmp_path / "recs") == parts_of(whole[0])
    assert results[-1][0] == whole[1]
    assert (tmp_path / "recs" / "_SUCCESS").read_bytes() == (whole[0] / "_SUCCESS").read_bytes()


def test_what_a_start_with_other_shards_left_is_removed_at_the_end(pia_run, log, whole, tmp_path):
    output = tmp_path / "recs"
    for number in (0, 2):  # as a killed process leaves it
        (output / f".shard-{number}-of-4" / "spill").mkdir(parents=True)
        (output / f".shard-{number}-of-4" / "spill" / "rows.arrow").write_text("someone's rows")
        (output / f".shard-{number}-of-4" / "lock").touch()
    run_job(pia_run, log, output)
    assert {path.name for path in output.iterdir()} == {path.name for path in whole[0].iterdir()}


def test_more_shards_than_parts(pia_run, log, whole, tmp_path):
    for number in range(9):
        run_job(pia_run, log, tmp_path / "recs", shard=Shard(number, 9))
    assert parts_of(tmp_path / "recs") == parts_of(whole[0])


@pytest.mark.parametrize("text", ["4/4", "-1/4", "1", "a/b", "1/0", "/", "1/2/3"])
def test_shards_that_are_none(text):
    with pytest.raises(UserError, match="--shard must be i/n"):
        parse_shard(text)
    assert parse_shard("3/4") == Shard(3, 4)


def test_a_finished_job_is_left_alone(pia_run, log, whole):
    before = {path: path.stat().st_mtime_ns for path in whole[0].glob("part-*")}
    counts, printed = run_job(pia_run, log, whole[0])
    assert counts == whole[1]
    assert "0 users in" in printed
    assert {path: path.stat().st_mtime_ns for path in whole[0].glob("part-*")} == before


def test_another_job_in_the_same_folder_is_refused(pia_run, log, whole, dataset, tmp_path):
    folder = whole[0]
    with pytest.raises(UserError, match=r"holds a job with another k \(5, now 6\)"):
        run_job(pia_run, log, folder, k=6)
    with pytest.raises(UserError, match="holds a job with another exclude_seen"):
        run_job(pia_run, log, folder, exclude_seen=False)
    with pytest.raises(UserError, match="holds a job with another parts"):
        run_job(pia_run, log, folder, part_rows=10**6)
    changed = pl.read_parquet(log)
    changed[0, "item"] = "i39"
    changed.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(UserError, match="holds a job with another input"):
        run_job(pia_run, tmp_path / "log.parquet", folder)
    config = tiny_config()
    config.seed += 1
    with pytest.raises(UserError, match="holds a job with another model"):
        run_job(write_run(tmp_path / "run", config, dataset), log, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds other files than a job's"):
        run_job(pia_run, log, tmp_path / "other")


def test_a_log_that_was_moved_is_the_same(pia_run, log, whole, tmp_path):
    (tmp_path / "moved.parquet").write_bytes(log.read_bytes())
    counts, _ = run_job(pia_run, tmp_path / "moved.parquet", whole[0])
    assert counts == whole[1]


def test_a_damaged_part_or_manifest_is_named(pia_run, log, tmp_path):
    folder = tmp_path / "recs"
    run_job(pia_run, log, folder)
    part = folder / "part-00003.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:-9])
    with pytest.raises(UserError, match=r"part-00003\.parquet is damaged .*; delete it and repeat the command"):
        run_job(pia_run, log, folder)
    part.unlink()
    run_job(pia_run, log, folder)
    assert part.read_bytes() == content
    (folder / "_manifest.json").write_text("[")
    with pytest.raises(UserError, match=r"_manifest\.json cannot be read"):
        run_job(pia_run, log, folder)


def test_two_processes_on_one_shard_are_refused(pia_run, log, tmp_path):
    job = Job(tmp_path / "recs", 7)
    job.output.mkdir()
    with workspace(job, Shard()), pytest.raises(UserError, match="another process works on shard-0-of-1"):
        run_job(pia_run, log, job.output)


def test_numbers_stand_for_the_texts_that_they_print_as(pia_run, tmp_path):
    random_log().with_columns(item=3).write_parquet(tmp_path / "log.parquet")
    counts, _ = run_job(pia_run, tmp_path / "log.parquet", tmp_path / "recs")
    assert (counts.unknown_interactions, counts.popular_users) == (random_log().height, counts.users)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": None}, "the item must be an integer or a string, got None"),
        ({"user": 1.5}, "a column of type Float64 cannot be the users"),
    ],
)
def test_malformed_logs_are_refused_before_anything_is_written(change, message, pia_run, tmp_path):
    table = random_log()[:20]
    for name, value in change.items():
        column = pl.Series(name, [value] * 20, dtype=table.schema[name] if value is None else None)
        table = table.with_columns(column)
    table.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(UserError, match=message):
        run_job(pia_run, tmp_path / "log.parquet", tmp_path / "recs")
    assert not (tmp_path / "recs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 41}, "k must be a whole number from 1 to 40"),
        ({"part_rows": 0}, "--part-rows must be at least 1, got 0"),
        ({"user_column": "customer"}, "has no column 'customer'"),
        ({"allow": "missing.txt"}, "missing.txt cannot be read"),
    ],
)
def test_bad_options_are_refused(options, message, pia_run, log, tmp_path, monkeypatch):
    options = {name: Path(value) if name == "allow" else value for name, value in options.items()}
    with pytest.raises(UserError, match=message):
        run_job(pia_run, log, tmp_path / "recs", **options)
    assert not (tmp_path / "recs").exists()


def test_the_evaluator_and_the_files_agree(pia_run, dataset, tmp_path):
    shown = dataset.test.input
    users = dataset.users["user_id"].gather(np.repeat(dataset.test.users, shown.lengths))
    items = dataset.items["item_id"].gather(shown.indices)
    pl.DataFrame({"user": users, "item": items}).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(
        tmp_path / "log.parquet"
    )
    run_job(pia_run, tmp_path / "log.parquet", tmp_path / "recs", k=NUM_ITEMS)
    trained = restore(pia_run)
    evaluated = make_run_evaluator(trained.run, dataset, split="test").evaluate(trained.score, trained.params)
    table = read_all(tmp_path / "recs")
    index = {item: number for number, item in enumerate(dataset.items["item_id"])}
    ndcg, recall = [], []
    for row, user in enumerate(dataset.users["user_id"].gather(dataset.test.users)):
        ranked = [index[item] for item in table.filter(pl.col("user_id") == user)["item_id"]]
        wanted = set(dataset.test.target.row(row).tolist())
        gains = [1 / np.log2(rank + 2) for rank, item in enumerate(ranked) if item in wanted]
        ideal = sum(1 / np.log2(rank + 2) for rank in range(min(len(wanted), 100)))
        ndcg.append(sum(gains) / ideal if wanted else np.nan)
        recall.append(len(wanted & set(ranked[:20])) / min(len(wanted), 20) if wanted else np.nan)
    np.testing.assert_allclose(recall, evaluated["recall@20"], atol=1e-6)
    np.testing.assert_allclose(ndcg, evaluated["ndcg@100"], atol=1e-6)


def test_a_fused_run_recommends_to_everyone_too(fused_run, fused, log, tmp_path):
    run_job(fused_run, log, tmp_path / "recs")
    check_equal(read_all(tmp_path / "recs"), expected_table(fused, log))
