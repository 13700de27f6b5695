"""The base errors: what another attempt may cure, and what it will not."""

from __future__ import annotations

__all__ = ["MaximaskdError", "PermanentError", "TransientError"]


class MaximaskdError(Exception):
    """Any failure that maximaskd explains in one sentence: what, where, what to do."""


class TransientError(MaximaskdError):
    """Another attempt may succeed: a full disk, a share or a server that went away."""


class PermanentError(MaximaskdError):
    """Another attempt at the same bytes will fail again: no image HDU, a broken header."""
