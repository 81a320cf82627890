import pytest

from piavae_jax.tuning.progress import describe_progress, describe_start
from piavae_jax.tuning.records import TrialRecord


def make_record(number, state, quality=0.25, epochs=12):
    return TrialRecord(number, state, {}, quality, 1, epochs)


def test_a_trial_is_announced_with_its_settings():
    settings = {"pia.weight": 0.05111, "model.hidden": (600,), "pia.enabled": True, "pia.patience": 12}
    expected = "trial 4 (5 of 40)  pia.weight=0.05111  model.hidden=(600,)  pia.enabled=True  pia.patience=12"
    assert describe_start(4, settings, target=40) == expected
    assert describe_start(4, {}, target=3) == "trial 4 (5 of 5)  "  # the target was larger when it began


@pytest.mark.parametrize(
    ("records", "number", "expected"),
    [
        (
            [make_record(0, "finished", 0.5)],
            0,
            "  nDCG@100 0.5000 after 12 epochs, best 0.5000 (trial 0), about 75 s left",
        ),
        (
            [make_record(0, "finished", 0.5), make_record(1, "pruned")],
            1,
            "  nDCG@100 0.2500 when pruned after 12 epochs, best 0.5000 (trial 0), about 50 s left",
        ),
        ([make_record(0, "failed", None, 0)], 0, "  failed in its first epoch, about 75 s left"),
        (  # two processes: three trials remain, one of them with the other
            [make_record(0, "finished"), make_record(1, "running")],
            0,
            "  nDCG@100 0.2500 after 12 epochs, best 0.2500 (trial 0), about 38 s left",
        ),
        (
            [make_record(number, "finished") for number in range(4)],
            3,
            "  nDCG@100 0.2500 after 12 epochs, best 0.2500 (trial 0)",
        ),
        (  # the target was larger when they began
            [make_record(number, "finished") for number in range(9)],
            8,
            "  nDCG@100 0.2500 after 12 epochs, best 0.2500 (trial 0)",
        ),
    ],
)
def test_the_end_of_a_trial_is_told_with_what_remains(records, number, expected):
    assert describe_progress(records, number, target=4, seconds_each=25) == expected


@pytest.mark.parametrize(("seconds", "words"), [(30, "30 s"), (120, "2 min"), (3600, "60 min"), (9000, "2 h 30 min")])
def test_times_are_short(seconds, words):
    records = [make_record(0, "finished")]
    assert describe_progress(records, 0, target=2, seconds_each=seconds).endswith(f"about {words} left")
