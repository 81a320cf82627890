"""From parsed options to interactions and a protocol."""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from piavae_jax.data import readers
from piavae_jax.data.events import Events
from piavae_jax.data.interactions import Interactions
from piavae_jax.data.known import SPLITS, raw_by_rows
from piavae_jax.data.protocol import StrongGeneralization
from piavae_jax.data.shapes import Shape, find_shape
from piavae_jax.data.splits import LeaveLastOut, RandomSplit
from piavae_jax.data.window import Window, make_window
from piavae_jax.errors import UserError

Protocol: TypeAlias = StrongGeneralization | LeaveLastOut | RandomSplit

_PROTOCOLS: dict[str, type[Protocol]] = {
    "strong": StrongGeneralization,
    "leave-last-out": LeaveLastOut,
    "random": RandomSplit,
}
_SPLIT_OPTIONS = (
    "heldout_users",
    "min_items_per_user",
    "min_users_per_item",
    "test_fraction",
    "validation_fraction",
    "split_seed",
)
_MIN_RATING = {"movielens": 4.0, "netflix": 4.0, "msd": 1.0}
_MSD_MINIMUMS = {"min_users_per_item": 200, "min_items_per_user": 20}


def read_interactions(options: argparse.Namespace) -> Interactions:
    """Read, or generate, what the options name.

    Raises:
      UserError: if it cannot be had.
    """
    if options.source == "generate":
        return _generated(options)
    return _READERS[options.source](_input(options), options)


def min_rating(options: argparse.Namespace) -> float | None:
    """The threshold that the options give, or else the source's own."""
    given: float | None = options.min_rating
    return _MIN_RATING.get(options.source) if given is None else given


def window(options: argparse.Namespace) -> Window:
    """The window of time that the options give.

    Raises:
      UserError: if they give none that can hold anything.
    """
    return make_window(options.since, options.until)


def needs_timestamps(options: argparse.Namespace) -> bool:
    """Whether the protocol splits by time."""
    return _PROTOCOLS[options.protocol] is LeaveLastOut


def make_protocol(options: argparse.Namespace, events: Events) -> Protocol:
    """The protocol with the options that were given, and the published settings of a known data set for the others.

    Raises:
      UserError: if an option does not apply to the protocol, or has no valid value.
    """
    protocol = _PROTOCOLS[options.protocol]
    fields = {field.name for field in dataclasses.fields(protocol)}
    given = {name: value for name in _SPLIT_OPTIONS if (value := getattr(options, name)) is not None}
    if "split_seed" in given:
        given["seed"] = given.pop("split_seed")
    for name in given.keys() - fields:
        raise UserError(f"--{name.replace('_', '-')} does not apply to --protocol {options.protocol}: leave it out")
    defaults = {name: value for name, value in _defaults(options, events).items() if name in fields}
    return protocol(**{**defaults, **given})


def _defaults(options: argparse.Namespace, events: Events) -> dict[str, int | None]:
    minimums = _MSD_MINIMUMS if options.source == "msd" else {}
    known = _full_shape(options) if options.source == "generate" else raw_by_rows(events.raw)
    whole = window(options).everything  # a window of a known data set is none
    published = (split.protocol.heldout_users for split in SPLITS if whole and split.raw == known)
    return {"heldout_users": next(published, None), **minimums}


def _input(options: argparse.Namespace) -> Path:
    if options.input is not None:
        return Path(options.input)
    from piavae_jax.data.download import download_dataset  # the network client loads only where it is needed

    return download_dataset(options.download, options.download_folder)


def _table(path: Path, options: argparse.Namespace) -> Interactions:
    return readers.read_table(
        path,
        user_column=options.user_column,
        item_column=options.item_column,
        rating_column=options.rating_column,
        timestamp_column=options.timestamp_column,
        separator=options.separator,
    )


def _generated(options: argparse.Namespace) -> Interactions:
    from piavae_jax.data.generator import generate  # SciPy too

    timestamps = needs_timestamps(options) or not window(options).everything
    return generate(_shape(options), seed=options.seed, timestamps=timestamps).interactions


def _full_shape(options: argparse.Namespace) -> str | None:
    return None if options.users else str(options.shape)


def _shape(options: argparse.Namespace) -> Shape:
    sizes = {
        name: value for name in ("users", "items", "interactions") if (value := getattr(options, name)) is not None
    }
    return dataclasses.replace(find_shape(options.shape), **sizes)


_READERS: dict[str, Callable[[Path, argparse.Namespace], Interactions]] = {
    "movielens": lambda path, _: readers.read_movielens(path),
    "netflix": lambda path, _: readers.read_netflix(path),
    "msd": lambda path, _: readers.read_msd(path),
    "npz": lambda path, options: readers.read_npz(path, items_csv=options.items_csv),
    "table": _table,
}
