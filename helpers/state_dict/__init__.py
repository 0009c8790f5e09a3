"""Read a checkpoint, load what fits, and say why the rest does not."""

from .errors import StateDictError
from .explaining import Explanation, explain
from .matching import compare, load_matching
from .reading import StateDict, read_state_dict
from .renames import RenameSuggestion, suggest_renames
from .report import LoadReport
from .without_copying import load_without_copying

__all__ = [
    "Explanation",
    "LoadReport",
    "RenameSuggestion",
    "StateDict",
    "StateDictError",
    "compare",
    "explain",
    "load_matching",
    "load_without_copying",
    "read_state_dict",
    "suggest_renames",
]
