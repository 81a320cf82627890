from fakes import fake_outcome, fake_system

from piavae_jax.benchmark.records import Record
from piavae_jax.benchmark.time_left import Job, describe_time_left, list_jobs


def record(name, seconds, *, family="vae", outcome=True, seed=0):
    return Record(name, name, family, seed, seconds, fake_outcome(0.4) if outcome else None, "")


def job(name, seed=1, family="vae"):
    return Job(fake_system(name)._replace(family=family), seed)


def test_every_system_runs_before_any_has_a_second_seed():
    jobs = list_jobs([fake_system("a"), fake_system("b", seeds=False), fake_system("c")], seeds=2)
    assert [(job.system.name, job.seed) for job in jobs] == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1)]


def test_what_others_need_comes_before_them():
    whole = fake_system("whole")._replace(needs=("part", "elsewhere"))
    larger = fake_system("larger")._replace(needs=("whole", "part"))
    jobs = list_jobs([fake_system("a"), larger, whole, fake_system("part")], seeds=2)
    assert [job.system.name for job in jobs] == ["a", "part", "whole", "larger"] * 2


def test_nothing_is_known_at_first():
    assert describe_time_left([job("a")], []) == ""
    assert describe_time_left([job("a")], [record("a", 60, outcome=False), record("b", 1, family="linear")]) == ""


def test_own_runs_count_before_those_of_the_family():
    finished = [record("a", 10), record("a", 30, seed=1), record("b", 100)]
    assert describe_time_left([job("a"), job("a")], finished) == "about 40 s left"
    assert describe_time_left([job("new")], finished) == "about 47 s left"  # (10 + 30 + 100) / 3


def test_runs_of_unknown_length_are_counted():
    jobs = [job("a"), job("ease", family="linear"), job("edlae", family="linear")]
    assert describe_time_left(jobs, [record("a", 600)]) == "about 10 min and 2 runs of unknown length left"
    assert describe_time_left(jobs[:2], [record("a", 600)]) == "about 10 min and 1 run of unknown length left"


def test_several_at_a_time_take_as_long_as_the_longest():
    finished = [record("a", 60), record("b", 10)]
    assert describe_time_left([job("a"), job("b"), job("b")], finished, at_once=2) == "about 60 s left"
    assert describe_time_left([job("a")] * 4, finished, at_once=2) == "about 2 min left"
