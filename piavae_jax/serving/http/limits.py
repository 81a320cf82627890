"""How much one request may ask for, and how long requests wait for each other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Requests beyond any of these are refused with a status of 4xx, or 503 for `waiting`."""

    body_bytes: int = 1_000_000
    """Bytes of a request's body."""
    body_seconds: float = 10.0
    """Seconds from a request's headers to the end of its body."""
    users: int = 64
    """Histories in a request, and users of a micro-batch that is not one larger request."""
    history: int = 1_000
    """Items of a history."""
    explained_history: int = 200
    """Items of a history to explain by: n items cost n + 1 users."""
    list_items: int = 10_000
    """Items to allow, or to deny."""
    k: int = 500
    """Length of a list."""
    waiting: int = 1_024
    """Requests that may wait for the model."""
    batch_seconds: float = 0.002
    """How long the first request of a micro-batch waits for others."""
