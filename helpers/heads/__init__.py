"""Give a network another head, several heads, or none, and keep the rest as it is."""

from .cutting import MultiHead, truncate
from .errors import HeadError
from .finding import find_head, find_heads
from .replacing import renew, replace_head, rows_by_name
from .sharing import shared_parameters

__all__ = [
    "HeadError",
    "MultiHead",
    "find_head",
    "find_heads",
    "renew",
    "replace_head",
    "rows_by_name",
    "shared_parameters",
    "truncate",
]
