from __future__ import annotations


class FirstConvError(ValueError):
    """The first conv cannot be found or adapted; the message says why, and the way out."""
