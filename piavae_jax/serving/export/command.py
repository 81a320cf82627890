"""What `bin/export.py` does: a run folder in, a folder of artefacts out, each checked."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from piavae_jax.data.atomic import check_replaceable, new_folder
from piavae_jax.data.manifest import library_version
from piavae_jax.errors import UserError
from piavae_jax.serving.export.check import TOLERANCE, check_scores
from piavae_jax.serving.export.formats import (
    ARRAYS_FILE,
    JAX_FILE,
    ONNX_DATA_FILE,
    ONNX_FILE,
    PLATFORMS,
    HostScore,
    load_jax,
    load_onnx,
    write_jax,
    write_onnx,
)
from piavae_jax.serving.export.program import Program, load_program
from piavae_jax.training.fusion import factors_in

FORMAT_VERSION = 1
"""Rises whenever a reader of the older layout would misread the folder."""
MANIFEST_FILE, VOCABULARY_FILE = "manifest.json", "vocabulary.json"


class _Format(NamedTuple):
    write: Callable[[Program, Path], None]
    load: Callable[[Path], HostScore]
    files: tuple[str, ...]
    """Those that it may write."""
    packages: tuple[str, ...]
    """Those whose versions the manifest records."""


_FORMATS = {
    "jax": _Format(write_jax, load_jax, (JAX_FILE, ARRAYS_FILE), ("jax", "jaxlib")),
    "onnx": _Format(write_onnx, load_onnx, (ONNX_FILE, ONNX_DATA_FILE), ("jax2onnx", "onnx", "onnxruntime")),
}
FORMATS = tuple(_FORMATS)
"""What a run can be exported as."""


def export_run(
    path: Path, out: Path, *, formats: Sequence[str] = ("jax",), overwrite: bool = False, console: Console
) -> dict[str, Any]:
    """Export a run, fused or not, and show what was written.

    `out` appears whole or not at all, after what lies in it was loaded again and scored as the run does.

    Args:
      path: the run folder.
      out: the folder of the artefacts, with the vocabulary and a manifest.
      formats: of `FORMATS`.
      overwrite: whether an earlier export there may be replaced.
      console: where to show it.

    Returns:
      The manifest.

    Raises:
      UserError: the run cannot be restored, a format cannot be written or does not score as the run does, or `out`
        exists.
    """
    unknown = [name for name in formats if name not in _FORMATS]
    if unknown or not formats:
        raise UserError(f"formats must be some of {', '.join(FORMATS)}, got {', '.join(formats) or 'none'}")
    check_replaceable(out, overwrite=overwrite, marker=VOCABULARY_FILE)  # prepared data have a manifest.json too
    program = load_program(path)
    with new_folder(out, overwrite=overwrite, marker=VOCABULARY_FILE) as staging:
        differences = {}
        for name in dict.fromkeys(formats):
            with console.status(f"{name} ..."):
                _FORMATS[name].write(program, staging)
                differences[name] = check_scores(program, _FORMATS[name].load(staging), name=name)
        (staging / VOCABULARY_FILE).write_text(_vocabulary(program), encoding="utf-8")
        manifest = _manifest(program, staging, differences)
        (staging / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    console.print(_table(manifest, out))
    console.print(f"artefacts  {out}\nnext  docs/export.md loads them", highlight=False, markup=False, soft_wrap=True)
    return manifest


def _vocabulary(program: Program) -> str:
    columns = program.run.vocabulary.select("item_id", "title").to_dict(as_series=False)
    return json.dumps(columns, ensure_ascii=False) + "\n"


def _manifest(program: Program, folder: Path, differences: dict[str, float]) -> dict[str, Any]:
    run = program.run
    shape = ["b", run.vocabulary.height]
    packages = [package for name in differences for package in _FORMATS[name].packages]
    return {
        "format_version": FORMAT_VERSION,
        "run": run.config.name,
        "model": run.config.model.name,
        "fusion": {
            "members": run.config.fusion.count,
            "linear": run.config.fusion.linear,
            "factors": factors_in(run.config.fusion, program.params),
        },
        "data": {"name": run.data_name, "digest": run.data_digest},
        "vocabulary_digest": run.vocabulary_digest,
        "input": {
            "name": "rows",
            "dtype": "float32",
            "shape": shape,
            "values": "1 where the user has the item, else 0",
        },
        "output": {"name": "scores", "dtype": "float32", "shape": shape, "values": "higher is better, own items too"},
        "formats": {
            name: {"files": _written(name, folder), "largest_difference": difference, "tolerance": TOLERANCE}
            | ({"platforms": list(PLATFORMS)} if name == "jax" else {})
            for name, difference in differences.items()
        },
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())},
        "versions": {"piavae-jax": library_version()} | {package: metadata.version(package) for package in packages},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _written(name: str, folder: Path) -> list[str]:
    return [file for file in _FORMATS[name].files if (folder / file).exists()]


def _table(manifest: dict[str, Any], out: Path) -> Table:
    table = Table(title=f"{manifest['run']}: {manifest['model']}, {manifest['input']['shape'][1]:,} items")
    for heading in ("format", "files", "MB", "largest difference to the run"):
        table.add_column(heading, justify="left" if heading in ("format", "files") else "right")
    for name, entry in manifest["formats"].items():
        megabytes = sum((out / file).stat().st_size for file in entry["files"]) / 1e6
        table.add_row(name, ", ".join(entry["files"]), f"{megabytes:,.1f}", f"{entry['largest_difference']:.1e}")
    return table
