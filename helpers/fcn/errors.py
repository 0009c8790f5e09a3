from __future__ import annotations


class FCNError(ValueError):
    """A network cannot be made fully convolutional as asked; the message says why, and the way out."""
