"""Read a checkpoint, load what fits, and say why the rest does not."""

from ..errors import StateDictError
from .converting import (
    add_tied_names,
    dequantize,
    fold_parametrizations,
    fuse_qkv,
    inflate_conv,
    merge_lora,
    rename_leaves,
    split_qkv,
    split_weight_norm,
)
from .explaining import Explanation, explain
from .matching import load_matching, match_keys
from .reading import StateDict, read_state_dict
from .renames import suggest_renames
from .report import LoadReport, RenameSuggestion
from .without_copying import load_without_copying

__all__ = [
    "Explanation",
    "LoadReport",
    "RenameSuggestion",
    "StateDict",
    "StateDictError",
    "add_tied_names",
    "dequantize",
    "explain",
    "fold_parametrizations",
    "fuse_qkv",
    "inflate_conv",
    "load_matching",
    "load_without_copying",
    "match_keys",
    "merge_lora",
    "read_state_dict",
    "rename_leaves",
    "split_qkv",
    "split_weight_norm",
    "suggest_renames",
]
