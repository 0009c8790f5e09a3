"""The errors of this package: each room has one, and all are a `WeightsError`, which is a `ValueError`.

They can be imported from their rooms, too: `from helpers.heads import HeadError`.
"""

from __future__ import annotations


class WeightsError(ValueError):
    """Weights cannot be read, moved or saved as asked; the message says what is in the way, and the way out."""


class MatConvNetError(WeightsError):
    """A file or a layer cannot be used; the message says what was found and what to do."""


class StateDictError(WeightsError):
    """A checkpoint cannot be read, or does not fit a model; the message says why, and the way out."""


class FirstConvError(WeightsError):
    """The first conv cannot be found or adapted; the message says why, and the way out."""


class HeadError(WeightsError):
    """A head cannot be found or replaced, or a network cannot be cut there; the message says why, and the way out."""


class FCNError(WeightsError):
    """A network cannot be made fully convolutional as asked; the message says why, and the way out."""


class FreezingError(WeightsError):
    """Nothing can be frozen, grouped or cached as asked; the message names the layer, and the way out."""


class CheckpointError(WeightsError):
    """A training cannot be saved or resumed; the message says what is in the way, and the way out."""
