"""General tables: text and Parquet, ids, ratings, times, and mistakes."""

import gzip
from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piavae_jax.data.readers import read_table
from piavae_jax.errors import UserError

CSV = "who,what,stars,when,note\n1,10,4.5,1000,x\n2,11,3,2000,y\n"
COLUMNS = {"user_column": "who", "item_column": "what"}
ALL_COLUMNS = COLUMNS | {"rating_column": "stars", "timestamp_column": "when"}
ROWS = [(1, 10, 4.5, 1000), (2, 11, 3.0, 2000)]
SCHEMA = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Float32, "timestamp": pl.Int64}


def write(folder, text, name="log.csv"):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def collect(path, **columns):
    return read_table(path, **(columns or ALL_COLUMNS)).events.collect()


def test_csv(tmp_path):
    data = read_table(write(tmp_path, CSV), **ALL_COLUMNS)
    assert data.events.collect_schema() == SCHEMA
    assert data.events.collect().rows() == ROWS
    assert data.titles is None
    assert data.source == "table log.csv"


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_columns_that_are_not_collected_are_not_read(tmp_path, engine):
    path = write(tmp_path, CSV)
    events = read_table(path, **ALL_COLUMNS).events.select("user", "item")
    assert collect(path, **COLUMNS).rows() == [(1, 10), (2, 11)]
    path.write_text(CSV.replace("4.5", "bad").replace("1000", "bad"))
    assert events.collect(engine=engine).rows() == [(1, 10), (2, 11)]


@pytest.mark.parametrize(
    ("text", "name", "separator"),
    [
        (CSV.replace(",", "\t"), "log.tsv", None),
        (CSV.replace(",", "\t"), "log.tab", None),
        (CSV.replace(",", ";"), "log.csv", ";"),
        (CSV.replace(",", "|"), "log.txt", "|"),
        (CSV.replace("\n", "\r\n"), "log.csv", None),
        ("\ufeff" + CSV.rstrip(), "log.csv", None),
        (CSV.replace("\n", "\n\n"), "log [1]*.csv", None),
        ('"who","what","stars","when"\n"1","10","4.5","1000"\n"2","11","3","2000"\n', "log.csv", None),
    ],
)
def test_notations_of_text(tmp_path, text, name, separator):
    events = collect(write(tmp_path, text, name), **ALL_COLUMNS, separator=separator)
    assert events.schema == SCHEMA
    assert events.rows() == ROWS


@pytest.mark.parametrize(("suffix", "separator"), [(".csv.gz", ","), (".tsv.gz", "\t")])
def test_gzipped_text(tmp_path, suffix, separator):
    path = tmp_path / f"log{suffix}"
    path.write_bytes(gzip.compress(CSV.replace(",", separator).encode()))
    assert collect(path).rows() == ROWS


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        (["1", "-2", "0"], pl.Int64),
        (["1", "u2", "3"], pl.String),
        (["1", "007", "7"], pl.String),
        (["1", "+7", "7"], pl.String),
        (["-0", "0", "1"], pl.String),
        (["1", "99999999999999999999", "2"], pl.String),
        (["1.0", "2.0", "3.0"], pl.String),
        (["a b", '"c,d"', '"e""f"'], pl.String),
    ],
)
def test_ids_are_integers_only_if_all_are(tmp_path, ids, dtype):
    path = write(tmp_path, "item,user\n" + "".join(f"{100 + k},{user}\n" for k, user in enumerate(ids)))
    events = collect(path, user_column="user", item_column="item")
    assert events.schema == {"user": dtype, "item": pl.Int64}
    plain = [user.strip('"').replace('""', '"') for user in ids]
    assert events["user"].cast(pl.String).to_list() == plain


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("964982703", 964982703),
        ("964982703.9", 964982703),
        ("9.64982703e8", 964982703),
        ("-86400", -86400),
        ("2000-07-30", 964915200),
        ("2000-07-30 18:45:03", 964982703),
        ("2000-07-30T18:45:03", 964982703),
        ("2000-07-30T18:45:03.999", 964982703),
        ("2000-07-30T18:45:03Z", 964982703),
        ("2000-07-30 18:45:03.5 UTC", 964982703),
        ("2000-07-30T20:45:03+02:00", 964982703),
        ("2000-07-30 18:45", 964982700),
    ],
)
def test_times_in_text(tmp_path, notation, expected):
    path = write(tmp_path, f"who,what,when\n1,2,{notation}\n3,4,{notation}\n")
    assert collect(path, **COLUMNS, timestamp_column="when")["timestamp"].to_list() == [expected] * 2


NOON = datetime(2000, 7, 30, 12)
NOON_SECONDS = int(NOON.replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pl.Series([5, 6], dtype=pl.Int32), [5, 6]),
        (pl.Series([5.5, -0.5]), [5, -1]),
        (pl.Series([date(1970, 1, 2), date(1969, 12, 31)]), [86_400, -86_400]),
        (pl.Series([NOON, NOON + timedelta(milliseconds=1500)]), [NOON_SECONDS, NOON_SECONDS + 1]),
        (pl.Series([NOON, NOON], dtype=pl.Datetime("ns")), [NOON_SECONDS] * 2),
        (pl.Series([NOON.replace(tzinfo=timezone(timedelta(hours=2)))] * 2), [NOON_SECONDS - 7200] * 2),
        (pl.Series(["2000-07-30T12:00:00", "2000-07-30T12:00:01"]), [NOON_SECONDS, NOON_SECONDS + 1]),
    ],
)
def test_times_in_parquet(tmp_path, times, expected):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"who": [1, 2], "what": [3, 4], "when": times}).write_parquet(path)
    events = collect(path, **COLUMNS, timestamp_column="when")
    assert events.schema["timestamp"] == pl.Int64
    assert events["timestamp"].to_list() == expected


@pytest.mark.parametrize("dtype", [pl.Int16, pl.UInt64, pl.String, pl.Categorical, pl.Enum(["1", "2"])])
def test_ids_in_parquet(tmp_path, dtype):
    path = tmp_path / "log.pq"
    pl.DataFrame({"who": pl.Series(["1", "2"]).cast(dtype), "what": [3, 4]}).write_parquet(path)
    events = collect(path, **COLUMNS)
    assert events.schema["user"] == (pl.Categorical if isinstance(dtype, pl.Enum) else dtype)
    assert events["user"].cast(pl.String).to_list() == ["1", "2"]


def test_folder_of_parquet_in_path_order(tmp_path):
    for day, user in [("day=2", "b"), ("day=10", "a"), ("day=2/late", "c")]:
        (tmp_path / day).mkdir(parents=True)
        pl.DataFrame({"who": [user], "what": [1]}).write_parquet(tmp_path / day / "part[0].parquet")
    (tmp_path / "_SUCCESS").write_bytes(b"")
    (tmp_path / "_part.parquet").write_bytes(b"unfinished")
    assert collect(tmp_path, **COLUMNS)["user"].to_list() == ["a", "c", "b"]


ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1), min_size=1, max_size=30),
)


@settings(max_examples=60, deadline=None)
@given(
    users=ids,
    rating=st.floats(-1e6, 1e6, width=32),
    time=st.integers(0, 10**10),
    form=st.sampled_from(["csv", "parquet"]),
)
def test_round_trip(tmp_path_factory, users, rating, time, form):
    path = tmp_path_factory.mktemp("table") / f"log.{form}"
    rows = len(users)
    table = pl.DataFrame({"who": users, "what": range(rows), "stars": [rating] * rows, "when": [time] * rows})
    table.write_csv(path) if form == "csv" else table.write_parquet(path)
    events = collect(path)
    assert [str(user) for user in events["user"]] == [str(user) for user in users]
    assert events["item"].to_list() == list(range(rows))
    assert events["rating"].to_list() == [rating] * rows
    assert events["timestamp"].to_list() == [time] * rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("3,2000", "three,2000"), r"line 3: the rating must be a finite number, got 'three'"),
        (("3,2000", "nan,2000"), r"line 3: the rating must be a finite number, got 'nan'"),
        (("3,2000", ",2000"), r"line 3: the rating must be a finite number, got None"),
        (("3,2000", "1e39,2000"), r"line 3: the rating must be"),
        (("2,11", ",11"), r"line 3: the user must be an integer or a string, got None"),
        (("\n2,11", "\n\n2,"), r"line 4: the item must be an integer or a string, got None"),
        (("3,2000", "3,soon"), r"line 3: the timestamp must be Unix seconds, or an ISO 8601 .* got 'soon'"),
        (("3,2000", "3,1700000000000"), r"line 3: the timestamp must be Unix seconds"),
        (("3,2000", "3,2000-01-01"), r"line 3: the timestamp .* in the notation of the first row, got '2000-01-01'"),
        (("2,11,3,2000,y", "2,11"), r"line 3: the rating must be a finite number, got None"),
        (("2000,y", "2000,y,z"), r"line 3 has more fields than the header"),
    ],
)
def test_malformed_row_is_named(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        collect(write(tmp_path, CSV.replace(*change)))
    assert "\n" not in str(error.value)


def test_malformed_row_of_parquet_is_named(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"who": [1, 2, None], "what": [1, 2, 3]}).write_parquet(path)
    with pytest.raises(UserError, match="row 3: the user must be an integer or a string, got None"):
        collect(path, **COLUMNS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (COLUMNS | {"rating_column": "score"}, "has no column 'score': it has 'who', 'what', 'stars', 'when', 'note'"),
        (COLUMNS | {"rating_column": "what"}, "one role, got user='who', item='what', rating='what'"),
        (COLUMNS | {"separator": "::"}, "separator must be one character of one byte, got '::'"),
        (
            COLUMNS | {"separator": "\t"},
            "no column 'who': it has 'who,what,stars,when,note'; name one, or the separator",
        ),
    ],
)
def test_wrong_columns(tmp_path, columns, message):
    with pytest.raises(UserError, match=message):
        collect(write(tmp_path, CSV), **columns)


@pytest.mark.parametrize(("column", "role"), [("who", "user"), ("stars", "rating"), ("when", "timestamp")])
def test_wrong_type_in_parquet(tmp_path, column, role):
    path = tmp_path / "log.parquet"
    columns = {"who": [1], "what": [2], "stars": [3.0], "when": [4]} | {column: [[1.5]]}
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(UserError, match=rf"type List\(Float64\) cannot be the {role}s"):
        collect(path)


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        collect(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is empty"):
        collect(write(tmp_path, ""))
    with pytest.raises(UserError, match="has no rows"):
        collect(write(tmp_path, "who,what,stars,when\n"))
    with pytest.raises(UserError, match=r"log\.parquet cannot be read"):
        collect(write(tmp_path, CSV, "log.parquet"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"a folder without \.parquet files"):
        collect(tmp_path / "folder")


def test_what_a_job_has_not_finished_is_not_read(tmp_path):
    for folder, user in (("day=1", 1), ("_temporary/0", 2), (".staging", 3)):
        (tmp_path / folder).mkdir(parents=True)
        pl.DataFrame({"who": [user], "what": [10]}).write_parquet(tmp_path / folder / "part.parquet")
    assert collect(tmp_path, **COLUMNS).rows() == [(1, 10)]


def test_a_files_own_columns_are_not_taken_from_the_names_of_its_folders(tmp_path):
    (tmp_path / "who=7").mkdir()
    file = tmp_path / "who=7" / "log.parquet"
    pl.DataFrame({"who": [1, 2], "what": [10, 11]}).write_parquet(file)
    assert collect(file, **COLUMNS).rows() == [(1, 10), (2, 11)]


def test_parts_may_have_further_columns_and_narrower_integers(tmp_path):
    parts = (
        pl.DataFrame({"who": [1], "what": [10]}),
        pl.DataFrame({"who": [2], "what": [11], "stars": [3.0]}),
        pl.DataFrame({"who": [3], "what": [12]}, schema={"who": pl.Int32, "what": pl.Int32}),
    )
    for number, part in enumerate(parts):
        part.write_parquet(tmp_path / f"part-{number}.parquet")
    assert collect(tmp_path, **COLUMNS).rows() == [(1, 10), (2, 11), (3, 12)]
