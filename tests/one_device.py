"""The environment of a command that has one device, where the suite itself has four."""

import os

ENVIRONMENT = {
    **os.environ,
    "XLA_FLAGS": " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag),
}
"""Its programs are compiled as the suite's are (`conftest`)."""
