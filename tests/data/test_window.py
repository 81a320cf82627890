from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from piavae_jax.data.cleaning import clean
from piavae_jax.data.interactions import Interactions
from piavae_jax.data.window import Window, make_window, parse_time
from piavae_jax.errors import UserError


def _log(**columns) -> Interactions:
    return Interactions(pl.LazyFrame(columns), source="log")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-01", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T06:30", datetime(2024, 2, 29, 6, 30, tzinfo=UTC)),
        ("2024-02-29 06:30:01Z", datetime(2024, 2, 29, 6, 30, 1, tzinfo=UTC)),
        ("2024-02-29T06:30+02:00", datetime(2024, 2, 29, 4, 30, tzinfo=UTC)),
        ("2026-W48", datetime(2026, 11, 23, tzinfo=UTC)),
        ("20261125", datetime(2026, 11, 25, tzinfo=UTC)),
        ("+2026", datetime(1970, 1, 1, 0, 33, 46, tzinfo=UTC)),
        ("1709164800", datetime(2024, 2, 29, tzinfo=UTC)),
        ("-1", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("1970-01-01T00:00:00.25", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_times_are_dates_in_utc_or_unix_seconds(text, time):
    assert parse_time("since", text) == int(time.timestamp())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", "since must be a date or a time such as 2026-11-25"),
        ("2024-02-30", "got '2024-02-30'"),
        ("", "got ''"),
        ("2026", "since must be a date such as 2026-01-01, got 2026"),
        ("20261325", "got '20261325'"),
        ("1709164800000", "divide milliseconds by 1,000"),
    ],
)
def test_what_is_no_time_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_time("since", text)


@pytest.mark.parametrize("until", ["2024-02-29", "2024-02-28", "5"])
def test_a_window_that_ends_before_it_starts_is_refused(until):
    with pytest.raises(UserError, match="since must be before until"):
        make_window("2024-02-29", until)


def test_windows_are_half_open_and_adjacent_ones_share_nothing():
    times = np.array([-5, 0, 9, 10, 19, 20, 30])
    parts = [Window(None, 0), Window(0, 10), Window(10, 20), Window(20, None)]
    inside = np.stack([part.contains(times) for part in parts])
    np.testing.assert_array_equal(inside.sum(axis=0), 1)
    assert times[Window(0, 10).contains(times)].tolist() == [0, 9]
    assert Window().contains(times).all()


def test_the_window_is_cut_before_repeats_are_dropped():
    log = _log(
        user=[1, 1, 1, 2, 2],
        item=[7, 7, 8, 7, 9],
        rating=[5.0, 5.0, 1.0, 5.0, 5.0],
        timestamp=[10, 25, 25, 30, 20],
    )
    events = clean(log, min_rating=4, window=Window(20, 30), timestamps=True)
    pairs = zip(events.user_ids.gather(events.users), events.item_ids.gather(events.items), strict=True)
    assert list(pairs) == [(1, 7), (2, 9)]  # the pair of time 25 stays though it was there before
    assert events.timestamps.tolist() == [25, 20]
    assert events.dropped == {"below_min_rating": 1, "outside_window": 2, "duplicates": 0}
    assert events.raw.rows == 5
    assert events.parameters == {
        "min_rating": 4,
        "since": "1970-01-01T00:00:20+00:00",
        "until": "1970-01-01T00:00:30+00:00",
    }
    assert clean(log, min_rating=4, window=Window(20, 30)).timestamps is None


def test_without_a_window_nothing_is_recorded_of_one():
    events = clean(_log(user=[1], item=[1], timestamp=[1]))
    assert (events.parameters, events.dropped) == ({"min_rating": None}, {"below_min_rating": 0, "duplicates": 0})


def test_a_window_needs_times_and_something_in_it():
    with pytest.raises(UserError, match="log has no timestamp column: name one, or leave out since and until"):
        clean(_log(user=[1], item=[1]), window=Window(1, None))
    log = _log(user=[1, 2], item=[1, 1], rating=[5.0, 1.0], timestamp=[5, 50])
    for window in (Window(6, 50), Window(6, None)):  # the row at 50 is no positive one
        with pytest.raises(UserError, match=r"no positive row lies in the window \[1970.*its times run from 1970"):
            clean(log, min_rating=4, window=window)
