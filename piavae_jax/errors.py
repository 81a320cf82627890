"""The one exception that a user's mistake raises."""

FULL_DISK = "No space left on device"
"""In the messages of libraries that raise errors of their own for it, in place of OSError."""


class UserError(ValueError):
    """Something that the caller can mend: a missing file, a bad value, a mismatched checkpoint.

    The message is one sentence with the name, the rule, the value received and the way out. Command lines print it
    without a traceback and exit with status 2 (`piavae_jax.cli.run`).
    """
