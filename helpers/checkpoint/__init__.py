"""Save a training so that nothing can lose it, and go on from there as if nothing had happened."""

from ..errors import CheckpointError
from .batches import ResumableBatches
from .exporting import export_weights
from .loading import Checkpoint, load_checkpoint
from .saving import save_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ResumableBatches",
    "export_weights",
    "load_checkpoint",
    "save_checkpoint",
]
