from __future__ import annotations


class HeadError(ValueError):
    """A head cannot be found or replaced, or a network cannot be cut there; the message says why, and the way out."""
