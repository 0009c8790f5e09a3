"""Another number of classes, in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import HeadError
from ..layers import why_not_plain
from ..probing import first_line
from .finding import Head, find_heads, made_by

Rows = Sequence[int] | Mapping[int, int] | None


def replace_head(
    model: nn.Module, num_classes: int, *, keep: Rows = None, example: Tensor | None = None
) -> tuple[str, ...]:
    """Let a model tell `num_classes` classes apart, in place; everything but its heads stays as it is.

    New rows are random, as PyTorch begins a Linear or a conv, and take gradients. Auxiliary classifiers get the same
    classes. Make the optimizer afterwards, and compile afterwards: the heads get new parameters.

    Args:
        model: any network whose output a Linear or a 1x1 conv makes.
        num_classes: rows of the new head.
        keep: rows of the old one to keep: numbers, which become the first rows of the new one, in this order; or a
            dictionary from new rows to old ones, such as `rows_by_name` makes.
        example: an input that it takes. Without one, images of usual sizes are tried.

    Returns:
        The names of the heads.

    Raises:
        HeadError: there is no head; a row to keep is not there; or the model fails with the new number. The model is
            then as it was.
    """
    heads = find_heads(model, example)
    for name, head in heads.items():
        if why := why_not_plain(model, head):
            raise HeadError(f"the weight of {name!r} {why}")
    before = {name: (head.weight, head.bias, _classes(head)) for name, head in heads.items()}
    try:
        for name, head in heads.items():
            resize_head(head, num_classes, keep, name=name)
        _, error = made_by(model, example, training=False)
        if error:
            raise HeadError(
                f"with {num_classes} classes the model stops behind {', '.join(heads)}: {first_line(error)}"
            )
    except Exception:
        for name, head in heads.items():
            head.weight, head.bias, classes = before[name]
            _set_classes(head, classes)
        raise
    return tuple(heads)


def rows_by_name(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """For `keep`: new row -> old row, for the classes whose names both have.

    Raises:
        HeadError: a name occurs twice, or they share none.
    """
    for names in (old, new):
        if twice := next((name for name in names if list(names).count(name) > 1), None):
            raise HeadError(f"the class {twice!r} occurs twice")
    rows = {i: list(old).index(name) for i, name in enumerate(new) if name in old}
    if not rows:
        raise HeadError(f"no class has the same name; they begin with {', '.join([*old[:2], *new[:2]])}")
    return rows


def resize_head(head: Head, num_classes: int, keep: Rows = None, *, name: str = "this head") -> None:
    """Give one head other rows, in place; see `replace_head`.

    Raises:
        HeadError: as there; this head is then as it was.
    """
    if num_classes < 1 or int(num_classes) != num_classes:
        raise HeadError(f"num_classes must be a whole number above 0, not {num_classes}")
    if getattr(head, "groups", 1) != 1:
        raise HeadError(f"{name!r} has {head.groups} groups; put an ungrouped conv in its place first")
    if why := why_not_plain(None, head):
        raise HeadError(f"the weight of {name!r} {why}")
    rows = dict(keep) if isinstance(keep, Mapping) else dict(enumerate(keep or ()))
    _refuse_rows_beyond(num_classes, rows.keys(), "new", name)
    _refuse_rows_beyond(_classes(head), rows.values(), "old", name)
    old_weight, old_bias = head.weight, head.bias
    head.weight = nn.Parameter(old_weight.new_empty(num_classes, *old_weight.shape[1:]))
    head.bias = None if old_bias is None else nn.Parameter(old_bias.new_empty(num_classes))
    _set_classes(head, num_classes)
    head.reset_parameters()
    with torch.no_grad():
        head.weight[list(rows)] = old_weight[list(rows.values())]
        if head.bias is not None and old_bias is not None:
            head.bias[list(rows)] = old_bias[list(rows.values())]


def _refuse_rows_beyond(limit: int, rows: Iterable[int], what: str, name: str) -> None:
    for row in rows:
        if not 0 <= row < limit:
            raise HeadError(f"there is no {what} row {row} in {name!r}; rows go from 0 to {limit - 1}")


def _classes(head: Head) -> int:
    return head.out_features if isinstance(head, nn.Linear) else head.out_channels


def _set_classes(head: Head, classes: int) -> None:
    setattr(head, "out_features" if isinstance(head, nn.Linear) else "out_channels", classes)
