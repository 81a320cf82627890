import numpy as np
import pytest

from piavae_jax.analysis.studies.cohorts import choose_cohorts
from piavae_jax.errors import UserError


def test_cohorts_are_around_the_quantiles_and_share_no_user():
    lengths = np.random.default_rng(0).permutation(np.arange(1000))
    few, middling, many = choose_cohorts(lengths, size=100)
    assert [few.label, middling.label, many.label] == ["0-99", "450-549", "900-999"]
    assert [cohort.name for cohort in (few, middling, many)] == ["few", "middling", "many"]
    assert all(np.array_equal(np.sort(lengths[c.users]), np.arange(c.low, c.high + 1)) for c in (few, middling, many))
    assert len(np.unique(np.concatenate([few.users, middling.users, many.users]))) == 300


@pytest.mark.parametrize("count", [20, 21, 43, 101])
def test_small_data_make_small_cohorts_without_overlap(count):
    cohorts = choose_cohorts(np.random.default_rng(count).integers(1, 9, count), size=300)
    assert [len(cohort.users) for cohort in cohorts] == [count // 4] * 3
    assert len(np.unique(np.concatenate([cohort.users for cohort in cohorts]))) == 3 * (count // 4)


def test_equal_users_have_one_label():
    assert choose_cohorts(np.full(40, 7), size=10)[0].label == "7"


def test_too_few_users_are_refused():
    with pytest.raises(UserError, match="cohorts need at least 20 training users, got 19: pass runs on more data"):
        choose_cohorts(np.ones(19, int), size=10)
