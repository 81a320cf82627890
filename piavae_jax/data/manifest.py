"""The description that lies beside the arrays of a prepared data set: `manifest.json`."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TypeAlias

from piavae_jax.errors import UserError

FORMAT_VERSION = 1
"""Rises whenever a reader of the older layout would misread the folder."""

Value: TypeAlias = str | int | float | bool | None


@dataclasses.dataclass(frozen=True)
class SplitCounts:
    """Sizes of one held-out part."""

    users: int
    """Rows, those without a target included."""
    users_without_target: int
    """Rows that no metric can score; evaluation leaves them out of its means."""
    input_interactions: int
    target_interactions: int


@dataclasses.dataclass(frozen=True)
class RawCounts:
    """Sizes of the source, before anything was left out."""

    users: int
    items: int
    rows: int


@dataclasses.dataclass(frozen=True)
class Counts:
    """Sizes of a prepared data set."""

    users: int
    """All users, training and held-out."""
    items: int
    """Items of the vocabulary, I."""
    filtered_items: int
    """Items after the filters; those without a training user are not in the vocabulary."""
    interactions: int
    """Distinct interactions after the filters, those of `filtered_items`."""
    train_users: int
    train_interactions: int
    validation: SplitCounts
    test: SplitCounts


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Where a prepared data set comes from, how it was split, and what its files must hash to."""

    name: str
    source: str
    """Reader and file name, without its folder."""
    protocol: str
    parameters: Mapping[str, Value]
    """The protocol's settings, and the cleaning's (`min_rating`)."""
    seed: int | None
    counts: Counts
    dropped: Mapping[str, int]
    """Events left out, by reason."""
    raw: RawCounts | None
    """None where the source was split already."""
    vocabulary_digest: str
    """SHA-256 of the external item ids in order (`piavae_jax.data.prepared.vocabulary_digest`)."""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """File name -> SHA-256, empty until written."""
    library_version: str = dataclasses.field(default_factory=lambda: library_version())
    created: str = dataclasses.field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """ISO 8601, UTC."""
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Indented JSON, a final newline included."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str, *, where: str) -> Manifest:
    """Parse `manifest.json`.

    Args:
      text: its content.
      where: what to call the file in errors.

    Raises:
      UserError: if it is no manifest, or of a format version that this library does not read.
    """
    fields = _object(text, where)
    if fields.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{where} has format version {fields.get('format_version')!r}, this library reads {FORMAT_VERSION}: "
            "prepare the data again with bin/prepare.py"
        )
    try:
        return Manifest(**{**fields, "counts": _counts(fields["counts"]), "raw": _raw_counts(fields["raw"])})
    except (KeyError, TypeError) as error:
        raise UserError(f"{where} is not a complete manifest ({error}): prepare the data again") from error


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON ({error}): prepare the data again") from error
    if not isinstance(fields, dict):
        raise UserError(f"{where} must hold a JSON object, not {type(fields).__name__}: prepare the data again")
    return fields


def _counts(fields: Mapping[str, Any]) -> Counts:
    splits = {split: SplitCounts(**fields[split]) for split in ("validation", "test")}
    return Counts(**{**fields, **splits})


def _raw_counts(fields: Mapping[str, Any] | None) -> RawCounts | None:
    return None if fields is None else RawCounts(**fields)


def library_version() -> str:
    """The version of this library, for files that it writes."""
    try:
        return metadata.version("piavae-jax")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
