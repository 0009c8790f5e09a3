"""Read a checkpoint, load what fits, and say why the rest does not."""

from ..errors import StateDictError
from .explaining import Explanation, explain
from .matching import load_matching, match_keys
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
    "explain",
    "load_matching",
    "load_without_copying",
    "match_keys",
    "read_state_dict",
    "suggest_renames",
]
