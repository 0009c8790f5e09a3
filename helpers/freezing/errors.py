from __future__ import annotations


class FreezingError(ValueError):
    """Nothing can be frozen, grouped or cached as asked; the message names the layer, and the way out."""
