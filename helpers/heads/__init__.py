"""Give a network another head, several heads, or none, and keep the rest as it is."""

from ..errors import HeadError
from .cutting import MultiHead, truncate
from .finding import find_head, find_heads
from .replacing import replace_head, resize_head
from .rows import rows_by_name
from .sharing import shared_parameters

__all__ = [
    "HeadError",
    "MultiHead",
    "find_head",
    "find_heads",
    "replace_head",
    "resize_head",
    "rows_by_name",
    "shared_parameters",
    "truncate",
]
