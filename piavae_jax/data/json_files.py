"""JSON files that appear whole or keep what they held."""

import json
import math
import os
from pathlib import Path
from typing import Any

from piavae_jax.errors import UserError


def write_json(path: Path, value: Any) -> None:
    """Write a value, NaN and infinity as null, which is on disk when this returns."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, which is on disk when this returns."""
    staged = path.with_name(f".{path.name}")
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
      UserError: the file is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no object")
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): restore a copy, or remove its folder to run it again") from error
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has neither
