import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piavae_jax import UserError
from piavae_jax.tuning.distributions import Choice, Float, Int


@pytest.mark.parametrize(
    ("distribution", "value", "position"),
    [
        (Float(0, 4), 1.0, 0.25),
        (Float(0.01, 100, log=True), 1.0, 0.5),
        (Int(3, 15), 6, 0.25),
        (Int(1, 256, log=True), 16, 0.5),
        (Choice(["a", "b", "c"]), "b", 0.5),
        (Choice([(600,), (600, 300)]), (600, 300), 1.0),
        (Float(2, 2), 2.0, 0.5),
        (Choice(["only"]), "only", 0.5),
    ],
)
def test_positions_on_an_axis(distribution, value, position):
    assert distribution.position(value) == pytest.approx(position)
    assert distribution.includes(value)


@given(st.floats(1e-6, 1e3), st.floats(1.0, 1e3), st.floats(0, 1))
def test_numbers_are_short_close_and_within_the_range(low, factor, share):
    distribution = Float(low, low * factor)
    drawn = low + share * (low * factor - low)
    value = distribution.value(drawn)
    assert distribution.includes(value)
    assert math.isclose(value, drawn, rel_tol=5.1e-4)
    assert value in (distribution.low, distribution.high) or float(f"{value:.4g}") == value


@pytest.mark.parametrize("value", [True, 3, 0.5, "adam", (600, 300), None])
def test_a_study_keeps_any_choice_as_text_and_gives_it_back(value):
    choice = Choice([value, "other"])
    assert isinstance(choice.stored(value), str)
    assert choice.value(choice.stored(value)) is value


def test_numbers_survive_being_stored():
    assert Float(0, 1).value(Float(0, 1).stored(0.25)) == 0.25
    assert Int(0, 9).value(Int(0, 9).stored(7)) == 7


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Float, (2, 1), r"Float must have finite ends, low <= high, got 2 and 1"),
        (Float, (0, math.inf), "Float must have finite ends"),
        (Float, (math.nan, 1), "Float must have finite ends"),
        (Float, ("0", 1), "Float must have finite ends, low <= high, got '0' and 1"),
        (Float, (0, 1, True), "Float with log=True must start above 0, got 0"),
        (Int, (1.5, 3), "Int must have whole ends, got 1.5 and 3"),
        (Int, (0, 8, True), "Int with log=True must start above 0"),
        (Choice, ([],), r"Choice must have options, got \[\]"),
        (Choice, ("abc",), "Choice must have options, got 'abc'"),
        (Choice, ([1, 2, 1],), r"Choice must have options that differ, got \(1, 2, 1\)"),
        (Choice, ([1, 1.0],), "Choice must have options that differ"),
    ],
)
def test_wrong_distributions_are_refused(kind, arguments, message):
    with pytest.raises(UserError, match=message):
        kind(*arguments)


def test_values_outside_are_not_included():
    assert not Float(0, 1).includes(1.1)
    assert not Int(2, 5).includes(1)
    assert not Choice([1, 2]).includes(3)
