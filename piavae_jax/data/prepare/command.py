"""The steps of `bin/prepare.py`."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

from piavae_jax.cli import console
from piavae_jax.data import liang_csv, prepared
from piavae_jax.data.atomic import check_replaceable
from piavae_jax.data.cleaning import clean
from piavae_jax.data.prepare.report import print_report
from piavae_jax.data.prepare.sources import make_protocol, min_rating, needs_timestamps, read_interactions, window
from piavae_jax.errors import UserError


def prepare(options: argparse.Namespace) -> None:
    """Prepare a data set as parsed options say; raises UserError, and nothing half-written is then left on disk."""
    _check_outputs(options)
    dataset = _read_split(options) if options.source == "liang-csv" else _split(options)
    with _step("write"):
        dataset = prepared.write_prepared(dataset, options.out, overwrite=options.overwrite)
        if options.export_liang_csv is not None:
            liang_csv.write_liang_csv(dataset, options.export_liang_csv, overwrite=options.overwrite)
    print_report(console, dataset, liang_csv=options.export_liang_csv)


def _check_outputs(options: argparse.Namespace) -> None:
    check_replaceable(options.out, overwrite=options.overwrite, marker=prepared.MARKER_FILE)
    if options.export_liang_csv is not None:
        out, exported = options.out.resolve(), options.export_liang_csv.resolve()
        if out == exported or out in exported.parents or exported in out.parents:
            raise UserError(f"--export-liang-csv must name a folder apart from --out, got {exported} and {out}")
        check_replaceable(options.export_liang_csv, overwrite=options.overwrite, marker=liang_csv.ITEMS_FILE)


def _read_split(options: argparse.Namespace) -> prepared.PreparedDataset:
    with _step("read"):
        return liang_csv.read_liang_csv(options.input, name=_name(options))


def _split(options: argparse.Namespace) -> prepared.PreparedDataset:
    times = window(options)
    with _step("generate" if options.source == "generate" else "read"):
        interactions = read_interactions(options)
    with _step("clean"):
        events = clean(interactions, min_rating=min_rating(options), window=times, timestamps=needs_timestamps(options))
    del interactions  # 400 MB for 20 million rows
    protocol = make_protocol(options, events)
    if getattr(protocol, "heldout_users", 0) is None:
        console.print("held out: a tenth of the users for validation, and for test (--heldout-users)", soft_wrap=True)
    with _step("split"):
        return protocol.split(events, name=_name(options))


def _name(options: argparse.Namespace) -> str:
    return options.name or options.out.resolve().name


@contextmanager
def _step(name: str) -> Iterator[None]:
    start = time.monotonic()
    with console.status(f"{name} ..."):
        yield
    console.print(f"{name:<8} {time.monotonic() - start:6.1f} s", highlight=False)
