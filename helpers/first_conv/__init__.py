"""Give a network's first conv another number of input channels, and keep what its kernels have learned."""

from ..errors import FirstConvError
from .adapting import adapt_conv, adapt_first_conv
from .finding import find_first_conv
from .normalization import fold_normalization
from .rules import RULES

__all__ = ["RULES", "FirstConvError", "adapt_conv", "adapt_first_conv", "find_first_conv", "fold_normalization"]
