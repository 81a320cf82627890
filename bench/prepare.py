"""How fast a MovieLens file is prepared, beside pandas in the manner of Liang et al.

    python bench/prepare.py                         # 20,000,263 rows, those of ML-20M; --rows 1000000

A file `ratings.csv` in the published format is generated (once, in `data/`). Ours is `bin/prepare.py movielens`, the
reference `pandas_preparation.py`; each runs as a process of its own, from the command to its end, and they take turns.
Both must give the same training rows, vocabulary, fold-in rows and held-out targets. Ratios are medians over rounds.
"""

import argparse
import importlib.util
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
import polars as pl

from piavae_jax.data.csr import CSR
from piavae_jax.data.generator import generate
from piavae_jax.data.liang_csv import read_liang_csv
from piavae_jax.data.prepared import PreparedDataset, load_prepared
from piavae_jax.data.shapes import Shape

ML20M_ROWS, ML20M_USERS, ML20M_ITEMS, ML20M_HELDOUT = 20_000_263, 138_493, 26_744, 10_000
STARS = np.arange(1, 11) / 2
SHARES = (0.012, 0.034, 0.014, 0.072, 0.044, 0.215, 0.110, 0.278, 0.077, 0.144)
"""How often half a star to five stars are given: half of the ratings are above 3.5, as in ML-20M."""


def raw_file(rows: int) -> Path:
    """The path of a generated `ratings.csv` of that many rows, written where it is not there yet."""
    path = harness.DATA / f"bench-ratings-{rows}.csv"
    if not path.is_file():
        harness.console.print(f"generating {path}", highlight=False, soft_wrap=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        ratings(rows).write_csv(part)
        part.replace(path)
    return path


def ratings(rows: int) -> pl.DataFrame:
    """Distinct (user, item) pairs, sorted as in ML-20M, with ratings and times."""
    users = max(rows * ML20M_USERS // ML20M_ROWS, 1)
    shape = Shape(users, ML20M_ITEMS, rows, popularity_exponent=2.3, popularity_offset=530.0, min_history=20)
    events = generate(shape, seed=0, timestamps=True).interactions.events
    stars = np.random.default_rng(1).choice(STARS, size=rows, p=np.array(SHARES) / np.sum(SHARES))
    columns = events.select(userId="user", movieId="item", rating=pl.Series(stars), timestamp="timestamp")
    return columns.sort("userId", "movieId").collect()


def check_same_split(ours: PreparedDataset, theirs: PreparedDataset) -> None:
    """Compare every part.

    Raises:
      AssertionError: naming the part that differs.
    """
    np.testing.assert_array_equal(ours.items["item_id"], theirs.items["item_id"], err_msg="vocabulary")
    for name, (users, rows) in _parts(ours).items():
        their_users, their_rows = _parts(theirs)[name]
        np.testing.assert_array_equal(_pairs(users, rows), _pairs(their_users, their_rows), err_msg=name)


def _parts(dataset: PreparedDataset) -> dict[str, tuple[np.ndarray, CSR]]:
    held_out = {"validation": dataset.validation, "test": dataset.test}
    inputs = {f"{name} input": (part.users, part.input) for name, part in held_out.items()}
    targets = {f"{name} targets": (part.users, part.target) for name, part in held_out.items()}
    return {"train": (dataset.train_users, dataset.train), **inputs, **targets}


def _pairs(users: np.ndarray, rows: CSR) -> np.ndarray:
    """int64[2, nnz]; users without items leave no trace in CSV files."""
    return np.stack([np.repeat(users, rows.lengths), rows.indices])


def benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the figures."""
    ratings_csv = str(raw_file(arguments.rows))
    heldout = str(max(arguments.rows * ML20M_HELDOUT // ML20M_ROWS, 1))
    peaks: dict[str, list[float]] = {"ours": [], "pandas": []}

    def timed(name: str, command: list[str]) -> None:
        peaks[name].append(harness.run_process([sys.executable, *command]))

    with tempfile.TemporaryDirectory(dir=harness.DATA) as scratch:
        ours, theirs = Path(scratch) / "ours", Path(scratch) / "pandas"
        flags = ["--out", str(ours), "--overwrite", "--heldout-users", heldout]
        commands = {
            "ours": [str(harness.ROOT / "bin" / "prepare.py"), "movielens", "--input", ratings_csv, *flags],
            "pandas": [str(harness.ROOT / "bench" / "pandas_preparation.py"), ratings_csv, str(theirs), heldout],
        }
        if importlib.util.find_spec("pandas") is None:
            harness.console.print("pandas is not installed: no reference (pip install pandas)")
            del commands["pandas"]
        systems = {name: partial(timed, name, command) for name, command in commands.items()}
        seconds = harness.interleave(systems, rounds=arguments.rounds)
        dataset = load_prepared(ours)
        if "pandas" in seconds:
            check_same_split(dataset, read_liang_csv(theirs, name="pandas"))
    return {
        "seconds": float(np.median(seconds["ours"])),
        "pandas_seconds": float(np.median(seconds["pandas"])) if "pandas" in seconds else None,
        "ratio": harness.ratio(seconds["pandas"], seconds["ours"]) if "pandas" in seconds else None,
        "peak_rss_mb": max(peaks["ours"]),
        "pandas_peak_rss_mb": max(peaks["pandas"], default=None),
        "rows": arguments.rows,
        "interactions": dataset.manifest.counts.interactions,
        "test_targets": dataset.test.target.nnz,
    }


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ML20M_ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    result = benchmark(arguments)
    rows = [
        ("pandas", result["pandas_seconds"], result["pandas_peak_rss_mb"], result["ratio"]),
        ("piavae_jax", result["seconds"], result["peak_rss_mb"], 1.0),
    ]
    shown = [row for row in rows if row[1] is not None]
    harness.table(f"preparation, {arguments.rows:,} rows", ("", "seconds", "peak MB", "times ours"), shown)
    harness.finish("prepare", vars(arguments), result)


if __name__ == "__main__":
    main()
