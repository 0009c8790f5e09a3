"""What makes another state_dict of one, so that more of it fits: a cause, lines of Python, and what they give."""

from collections.abc import Callable

from .names import leaves, leftovers, names, prefixes, separators, tied
from .numbers import adapters, parametrizations, plain_numbers, statistics
from .shapes import attention, forms, inflation, orders
from .situation import Situation

__all__ = ["REMEDIES", "Situation"]

Remedy = Callable[[Situation], None]
REMEDIES: tuple[Remedy, ...] = (
    plain_numbers,
    parametrizations,
    adapters,
    separators,
    leaves,
    prefixes,
    statistics,
    attention,
    names,
    leftovers,
    parametrizations,
    orders,
    forms,
    inflation,
    tied,
)
