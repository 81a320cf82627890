"""Which errors mean that a run failed on this data and machine, so that others may go on."""

import jax
import numpy as np

from piavae_jax.training.epoch import NonFiniteLoss

FAILURES = (NonFiniteLoss, FloatingPointError, np.linalg.LinAlgError, MemoryError, jax.errors.JaxRuntimeError)
"""Any other error is the user's to mend, or ours."""


def describe_failure(error: BaseException) -> str:
    """The error in one line: its class and the first line of what it says."""
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
