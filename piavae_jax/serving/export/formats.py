"""The files of each format: how they are written, and how whoever loads them computes scores."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from piavae_jax.errors import UserError
from piavae_jax.serving.export.program import Program

JAX_FILE, ARRAYS_FILE = "model.jax", "model.npz"
ONNX_FILE, ONNX_DATA_FILE = "model.onnx", "model.onnx.data"
PLATFORMS = ("cpu", "cuda", "tpu")
"""Where the `jax.export` artefact runs."""

_MAX_ONNX_BYTES = 2**31 - 2**20  # a protocol buffer ends there

HostScore = Callable[[np.ndarray], np.ndarray]
"""`score(rows: float32[B, I]) -> float32[B, I]`, NumPy in and out."""


def write_jax(program: Program, folder: Path) -> None:
    """Write `model.jax`, the program for any B, and `model.npz`, its arrays: those are not part of the program.

    Raises:
      UserError: the package `flatbuffers` is missing.
    """
    with _package_needed("flatbuffers", "export"):
        import flatbuffers  # noqa: F401 - jax.export says so only when it has done the work
    num_items = program.run.vocabulary.height
    (batch,) = jax.export.symbolic_shape("b")
    arrays = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in program.arrays.items()}
    rows = jax.ShapeDtypeStruct((batch, num_items), jnp.float32)
    exported = jax.export.export(jax.jit(program.score), platforms=PLATFORMS)(arrays, rows)
    (folder / JAX_FILE).write_bytes(exported.serialize())
    np.savez(folder / ARRAYS_FILE, **program.arrays)  # type: ignore[arg-type]


def load_jax(folder: Path) -> HostScore:
    """Load both, with JAX and NumPy alone."""
    exported = jax.export.deserialize(bytearray((folder / JAX_FILE).read_bytes()))
    with np.load(folder / ARRAYS_FILE, allow_pickle=False) as archive:
        arrays = jax.device_put(dict(archive))
    return lambda rows: np.asarray(exported.call(arrays, rows))


def write_onnx(program: Program, folder: Path) -> None:
    """Write `model.onnx`, with the input `rows` and the output `scores`, and large arrays as `model.onnx.data`.

    Raises:
      UserError: the package `jax2onnx` is missing or cannot express the model, or the arrays do not fit.
    """
    with _package_needed("jax2onnx", "onnx"):
        from jax2onnx import to_onnx
    size = sum(array.nbytes for array in program.arrays.values())
    if size > _MAX_ONNX_BYTES:
        raise UserError(
            f"an ONNX file holds at most 2 GB, the model has {size / 1e9:.1f} GB; export it with --format jax"
        )
    num_items = program.run.vocabulary.height

    def score(rows: jax.Array) -> jax.Array:
        return program.score({name: jnp.asarray(array) for name, array in program.arrays.items()}, rows)

    try:
        to_onnx(
            score,
            [("B", num_items)],
            model_name=program.run.config.model.name,
            return_mode="file",
            output_path=str(folder / ONNX_FILE),
            input_names=["rows"],
            output_names=["scores"],
        )
        if (folder / ONNX_DATA_FILE).exists():  # readable by its owner alone, unlike all other files
            (folder / ONNX_DATA_FILE).chmod((folder / ONNX_FILE).stat().st_mode)
    except OSError:
        raise
    except Exception as error:  # the converter raises what it likes where it does not know an operation
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"jax2onnx cannot convert {program.run.config.model.name} ({type(error).__name__}: {reason}); "
            "export it with --format jax"
        ) from error


def load_onnx(folder: Path) -> HostScore:
    """Load it with ONNX Runtime, on the CPU."""
    with _package_needed("onnxruntime", "onnx"):
        import onnxruntime
    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(["scores"], {"rows": rows})[0]


@contextmanager
def _package_needed(package: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"the package {package} is needed here and cannot be imported ({error}); "
            f"install it: pip install 'piavae-jax[{extra}]'"
        ) from error
