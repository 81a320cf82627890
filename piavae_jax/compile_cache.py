"""Compiled programs kept on disk between commands: JAX's persistent compilation cache, with a place and a bound.

The folder is `$PIAVAE_CACHE_DIR`, else `$XDG_CACHE_HOME/piavae_jax/jax`, else `~/.cache/piavae_jax/jax`. An empty
`PIAVAE_CACHE_DIR` switches the cache off; a `JAX_COMPILATION_CACHE_DIR`, or any other variable of JAX, stands as it is.
Importing the library switches nothing on: commands call `enable`.

JAX's key covers the program, the XLA flags, the version of jaxlib and the features of the processor, so that a home
folder may be shared by unlike machines. Whoever can write to the folder can run code as its readers; it is private.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from piavae_jax.errors import UserError

FOLDER = "PIAVAE_CACHE_DIR"
# To keep within its bound JAX looks at every entry at every write, 70 microseconds each on a 2-core CPU: so no trifles,
# and a bound of some two thousand entries. A run on MovieLens-1M compiles 46 programs and keeps 21 of them, 0.7 MB.
_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.05,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_compilation_cache_max_size": 64 * 2**20,
}
_LOCK, _ENTRY, _ACCESS = ".lockfile", "-cache", "-atime"  # names that JAX gives
_LOCK_SECONDS = 10.0


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where compiled programs are kept; None where the user has switched the cache off or made a choice with JAX's own.

    Raises:
      RuntimeError: there is no home folder to put it in.
    """
    if "JAX_COMPILATION_CACHE_DIR" in environment:
        return None
    named = environment.get(FOLDER)
    if named is not None:
        return Path(named).expanduser() if named else None
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the standard says to ignore it
        base = Path.home() / ".cache"
    return base / "piavae_jax" / "jax"


def enable() -> None:
    """Let JAX keep what it compiles from now on.

    Raises:
      UserError: the folder does not serve; programs are then compiled anew each time.
    """
    try:
        folder = cache_folder(os.environ)
        if folder is None:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _drop_torn_entries(folder)
    except (OSError, RuntimeError, NotImplementedError) as error:  # the last: a file system without locks
        raise UserError(
            f"programs are not kept once compiled ({error}); set {FOLDER}, to nothing for no cache"
        ) from error
    # From here on a cache that fails costs time only, and JAX would warn of each program.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    _configure({"jax_compilation_cache_dir": str(folder), **_SETTINGS})


def _configure(settings: Mapping[str, object]) -> None:
    import jax

    for name, value in settings.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)


def _drop_torn_entries(folder: Path) -> None:
    """Remove what a killed process left half written: JAX would neither read it nor replace it nor write another.

    JAX writes an entry and then its time of access, both under the lock; without a bound it writes no times.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_MAX_SIZE") == "-1":
        return
    import filelock

    with filelock.FileLock(folder / _LOCK, timeout=_LOCK_SECONDS):
        for entry in folder.glob(f"*{_ENTRY}"):
            if not entry.with_name(entry.name.removesuffix(_ENTRY) + _ACCESS).exists():
                entry.unlink()
