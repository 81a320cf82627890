import math

import numpy as np
import polars as pl
import pytest

from piavae_jax.data.cleaning import clean
from piavae_jax.data.interactions import Interactions
from piavae_jax.errors import UserError


def _log(**columns) -> Interactions:
    return Interactions(pl.LazyFrame(columns), source="log")


def _pairs(events) -> list:
    return list(zip(events.user_ids.gather(events.users), events.item_ids.gather(events.items), strict=True))


def test_keeps_the_first_of_each_positive_pair_in_file_order():
    events = clean(
        _log(
            user=["b", "a", "b", "a", "b"],
            item=[9, 1, 9, 1, 3],
            rating=[4.0, 3.5, 5.0, 4.0, 4.5],
            timestamp=[10, 20, 30, 40, 50],
        ),
        min_rating=4,
        timestamps=True,
    )
    assert _pairs(events) == [("b", 9), ("a", 1), ("b", 3)]
    assert events.timestamps.tolist() == [10, 40, 50]
    assert events.dropped == {"below_min_rating": 1, "duplicates": 1}
    assert (events.raw.users, events.raw.items, events.raw.rows) == (2, 3, 5)


def test_the_threshold_is_inclusive_on_half_stars():
    ratings = [value / 2 for value in range(1, 11)]
    events = clean(_log(user=[1] * 10, item=list(range(10)), rating=ratings), min_rating=4)
    assert [item for _, item in _pairs(events)] == [7, 8, 9]


def test_without_threshold_every_row_is_positive():
    assert len(clean(_log(user=[1, 1, 2], item=[1, 2, 1], rating=[0.0, 0.5, 5.0]))) == 3


@pytest.mark.parametrize("dtype", [pl.Int32, pl.UInt16, pl.Int64, pl.String, pl.Categorical])
def test_ids_are_coded_in_ascending_order_whatever_their_type(dtype):
    raw = [300, 20, 1_000, 20]
    events = clean(
        Interactions(
            pl.LazyFrame({"user": raw, "item": [1, 2, 3, 4]}).with_columns(pl.col("user").cast(pl.String).cast(dtype))
        )
    )
    ids = sorted(set(raw)) if dtype.is_integer() else sorted({str(value) for value in raw})
    assert events.user_ids.to_list() == ids
    assert _pairs(events) == list(zip(raw if dtype.is_integer() else map(str, raw), [1, 2, 3, 4], strict=True))


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.UInt64, pl.Int8, pl.Int64])
@pytest.mark.parametrize("raw", [[2, 0, 3, 2, 0], [90, 0, 100, 90, 0]])
def test_dense_and_scattered_integers_are_coded_alike(dtype, raw):
    frame = pl.LazyFrame({"user": raw, "item": [1, 2, 3, 4, 5]}, schema_overrides={"user": dtype})
    events = clean(Interactions(frame, source="log"))
    assert events.user_ids.to_list() == sorted(set(raw))
    assert (events.user_ids.dtype, events.users.dtype) == (pl.Int64, np.int32)
    assert events.users.tolist() == [1, 0, 2, 1, 0]
    assert (events.raw.users, events.raw.items) == (3, 5)


def test_negative_ids():
    assert clean(_log(user=[-1, 0, 2, -1], item=[1, 2, 3, 4])).users.tolist() == [0, 1, 2, 0]


def test_string_ids_sort_as_python_sorts_them():
    names = ["é", "z", "Z", "zz", "10", "9", "𝄞", "ﬀ"]
    assert clean(_log(user=names, item=[1] * len(names))).user_ids.to_list() == sorted(names)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [1, None, None], "item": [1, 2, 3]}, r"rows without user \(2, the first is data row 2\)"),
        ({"user": ["a", "b"], "item": ["x", None]}, r"rows without item \(1, the first is data row 2\)"),
        (
            {"user": [1, 2], "item": [1, 2], "rating": [None, 1.0]},
            r"rows without rating \(1, the first is data row 1\)",
        ),
        (
            {"user": [1, 2], "item": [1, 2], "rating": [1.0, math.nan]},
            r"ratings that are NaN or infinite \(1, the first is data row 2\)",
        ),
        ({"user": [1, 2], "item": [1, 2], "rating": [1.0, math.inf]}, "ratings that are NaN or infinite"),
        ({"user": [1, 2], "item": [1, 2], "rating": [-1.0, 1.0]}, r"negative ratings \(1, the first is data row 1\)"),
        ({"user": [1.5, 2.0], "item": [1, 2]}, "user ids must be integers or strings, got Float64"),
        ({"user": [1, 2]}, "has no item column"),
        ({"user": [], "item": []}, "has no rows"),
    ],
)
def test_refuses_what_cannot_be_trusted(columns, message):
    log = Interactions(
        pl.LazyFrame(columns, schema={"user": pl.Int64, "item": pl.Int64} if not columns["user"] else None)
    )
    with pytest.raises(UserError, match=message):
        clean(log)


def test_a_threshold_needs_ratings_and_ratings_above_it():
    with pytest.raises(UserError, match="has no rating column: leave out min_rating"):
        clean(_log(user=[1], item=[1]), min_rating=4)
    with pytest.raises(UserError, match="none of 2 rows has a rating of 4 or more"):
        clean(_log(user=[1, 2], item=[1, 2], rating=[1.0, 3.5]), min_rating=4)


def test_times_must_be_there_when_they_are_asked_for():
    with pytest.raises(UserError, match="has no timestamp column"):
        clean(_log(user=[1], item=[1]), timestamps=True)
    with pytest.raises(UserError, match="rows without timestamp"):
        clean(_log(user=[1, 2], item=[1, 1], timestamp=[None, 5]), timestamps=True)


def test_what_a_lazy_reader_raises_becomes_one_sentence(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item\n1,2\nx,3\n")
    log = Interactions(pl.scan_csv(path, schema={"user": pl.Int64, "item": pl.Int64}), source="log.csv")
    with pytest.raises(UserError, match=r"^log.csv cannot be read \(.*x.*\): check the file") as caught:
        clean(log)
    assert "\n" not in str(caught.value)


def test_a_large_log_is_coded_as_numpy_would():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 2**40, 300)[rng.integers(0, 300, 5_000)], rng.integers(-50, 50, 5_000)
    events = clean(_log(user=users, item=items))
    expected = list(dict.fromkeys(zip(users.tolist(), items.tolist(), strict=True)))
    assert _pairs(events) == expected
    assert events.users.dtype == events.items.dtype == np.int32


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Int128])
def test_wide_integers_are_ids_while_they_fit(dtype):
    events = clean(_log(user=pl.Series([7, 5], dtype=dtype), item=[1, 2]))
    assert _pairs(events) == [(7, 1), (5, 2)]
    assert events.user_ids.dtype == pl.Int64
    with pytest.raises(
        UserError, match=r"log has user ids beyond 64-bit signed integers \(1, .* row 2\): make them str"
    ):
        clean(_log(user=pl.Series([7, 2**63], dtype=dtype), item=[1, 2]))
