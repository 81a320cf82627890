"""The folder of an analysis: which data it is about, by which commands, and a folder for each study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from piavae_jax.benchmark.folder import describe_session
from piavae_jax.data.atomic import is_taken
from piavae_jax.data.json_files import read_json, write_json
from piavae_jax.errors import UserError

INFO = "analysis.json"
FORMAT_VERSION = 1


def open_folder(root: Path, data: Mapping[str, str], *, command: str) -> None:
    """Begin an analysis in a new folder, or go on with one on the same data; the session is written down.

    Args:
      root: the folder.
      data: `name` and `digest` of the data set.
      command: the command line.

    Raises:
      UserError: the folder holds something else, or an analysis of other data.
    """
    info = check_folder(root, data)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / INFO, info | {"sessions": [*info["sessions"], describe_session(command)]})


def check_folder(root: Path, data: Mapping[str, str]) -> dict[str, Any]:
    """What is known of the analysis in a folder, or of the one that would begin there; nothing is written.

    Raises:
      UserError: the folder holds something else, or an analysis of other data.
    """
    if not (root / INFO).is_file():
        if is_taken(root):
            raise UserError(f"{root} exists and holds no analysis: choose another --out, or empty it")
        return {"format_version": FORMAT_VERSION, "data": dict(data), "sessions": []}
    info = read_json(root / INFO)
    if info.get("format_version") != FORMAT_VERSION or not {"data", "sessions"} <= info.keys():
        raise UserError(
            f"{root / INFO} must have format version {FORMAT_VERSION}, got {info.get('format_version')!r}: "
            "choose another --out"
        )
    if info["data"]["digest"] != data["digest"]:
        raise UserError(
            f"{root} was begun on other data ({info['data']['name']}, digest {info['data']['digest'][:12]}) than "
            f"{data['name']} (digest {data['digest'][:12]}): choose another --out"
        )
    return info
