"""What the command lines in `bin/` share: the console and the way errors leave the process."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from absl import logging
from rich.console import Console

from piavae_jax import compile_cache, xla_flags
from piavae_jax.errors import FULL_DISK, UserError

if TYPE_CHECKING:
    from absl import flags

    from piavae_jax.config import ExperimentConfig

_LOG_WIDTH = 120
"""Columns where the output is no terminal, and COLUMNS does not say: rich's 80 break tables of several systems."""


def _make_console() -> Console:
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _LOG_WIDTH
    return console


console = _make_console()
error_console = Console(stderr=True, soft_wrap=True, highlight=False)

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

_OVERRIDES = """
--config.FIELD=VALUE changes any field of the experiment, such as --config.pia.weight=2; the fields and what they mean
are in piavae_jax/config/schema.py."""


def run(main: Callable[[], None]) -> None:
    """Call `main` and end the process: status 0, 2 with one line for a `UserError`, 130 for Ctrl-C."""
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what this library does on purpose
    xla_flags.launch_in_order(os.environ)
    try:
        main()
    except UserError as error:
        fail(str(error))
    except OSError as error:  # a full disk, a folder without permission
        fail(f"{error}; check the disk and the permissions")
    except ValueError as error:  # Orbax's for a full disk, from its own file layer
        if FULL_DISK not in str(error):
            raise
        fail(f"a checkpoint cannot be written: {FULL_DISK}; make room, and the same command goes on")
    except KeyboardInterrupt:
        error_console.print("interrupted")
        sys.exit(EXIT_INTERRUPTED)


def keep_compiled_programs() -> None:
    """Switch JAX's cache on disk on; a command that compiles calls this first, and goes on where it does not work."""
    try:
        compile_cache.enable()
    except UserError as error:
        error_console.print(f"warning: {error}", markup=False)


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser whose errors are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        """Raise."""
        raise UserError(f"{message}: see {self.prog} --help")


def fail(message: str) -> None:
    """Print one line and end the process with status 2."""
    show_error(message)
    sys.exit(EXIT_USER_ERROR)


def show_error(message: str) -> None:
    """Print one line to the standard error."""
    error_console.print("[bold red]error:[/]", end=" ")
    error_console.print(message, markup=False)


def run_with_flags(main: Callable[[], None], *, usage: str) -> None:
    """Parse absl flags, `--config` among them, and `run` the command; a flag that is wrong ends with status 2."""
    from absl import flags

    def parse_and_run() -> None:
        if "--help" in sys.argv[1:] or "-h" in sys.argv[1:]:
            print(f"{usage.strip()}\n{flags.FLAGS.main_module_help()}\n{_OVERRIDES}")
            return
        _parse(flags.FLAGS)
        main()

    run(parse_and_run)


def _parse(parser: "flags.FlagValues") -> None:
    from absl import flags

    try:
        rest = parser(sys.argv)[1:]
    except flags.Error as error:
        cause = _first_cause(error)
        if isinstance(cause, UserError):  # raised by the config file, such as an unknown preset
            raise UserError(f"--config: {cause}") from error
        reason = (str(error).strip().splitlines() or [""])[-1]  # absl prints the config file's whole traceback
        raise UserError(f"{reason}; see --help") from error
    except (KeyError, AttributeError) as error:
        # ml_collections raises these, quoted, for an override of a field that the config does not have.
        if "get_config" in str(error):
            raise _config_error(error) from error
        reason = error.args[0] if error.args else type(error).__name__
        raise UserError(f"{reason}; the fields and what they mean are in piavae_jax/config/schema.py") from error
    except Exception as error:  # the user's config file is Python, and raises what it likes
        raise _config_error(error) from error
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}; flags start with --, such as --config=configs/ml1m.py")


def _first_cause(error: BaseException) -> BaseException:
    while error.__context__ is not None:
        error = error.__context__
    return error


def _config_error(error: Exception) -> UserError:
    reason = (str(error).splitlines() or [""])[0]
    return UserError(f"--config cannot be loaded: {type(error).__name__}: {reason}; pass a file of configs/")


def config_value(flag: "flags.FlagHolder[Any]") -> "ExperimentConfig":
    """The experiment that `--config` names.

    Raises:
      UserError: there is none, the file cannot be loaded, or it returns something else.
    """
    from absl import flags
    from ml_collections import config_flags

    from piavae_jax.config import ExperimentConfig

    config = flag.value
    if config is None:
        raise UserError("--config is missing; pass an experiment, such as --config=configs/ml1m.py")
    file = config_flags.get_config_filename(flags.FLAGS[flag.name]).partition(":")[0]  # what follows is an argument
    if not Path(file).is_file():
        raise UserError(f"--config must name a file, got {file!r}; the experiments are in configs/")
    try:
        getattr(config, "name", None)  # where the file failed to load, ml_collections raises its error here
    except Exception as error:  # whatever the user's file raised
        raise _config_error(error) from error
    if not isinstance(config, ExperimentConfig):
        raise UserError(f"--config must return a piavae_jax ExperimentConfig, got {type(config).__name__}")
    return config
