"""Another number of classes, in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import HeadError
from ..layers import numbers_beside, whole_number, why_not_plain
from ..probing import Example, first_line
from .choosing import CLASSES, Heads, number_of_outputs, outputs_of
from .finding import Head, all_outputs, made_by
from .rows import Rows, as_rows, refuse_rows_beyond

State = tuple[Tensor, Tensor | None, int]


def replace_head(
    model: nn.Module,
    num_classes: int,
    *,
    keep: Rows = None,
    example: Example | None = None,
    heads: Heads | None = None,
) -> tuple[str, ...]:
    """Let a model tell `num_classes` classes apart, in place; everything but its heads stays as it is.

    New rows are random, as PyTorch begins a Linear or a conv, and take gradients. (Detectors with focal loss, such as
    RetinaNet and FCOS, begin the biases of new classes at -log(99) instead.) Auxiliary classifiers get the same
    classes, and modules that hold a head and keep its number (`num_classes`, `num_labels`) are told the new one. Make
    the optimizer afterwards, and compile afterwards: the heads get new parameters.

    If heads have different numbers of outputs, `heads` must choose. Faster R-CNN has 4 outputs for a box beside each
    class, Mask R-CNN a mask, SSD and RetinaNet have outputs for each class and anchor; DETR's boxes have nothing to do
    with the classes:

        replace_head(fasterrcnn, 7, heads="roi_heads.box_predictor")
        replace_head(maskrcnn, 7, heads=["roi_heads.box_predictor", "roi_heads.mask_predictor"])
        replace_head(retinanet, 7, heads="head.classification_head")  # SSD and FCOS, too
        replace_head(detr, 8, heads="class_embed")
        replace_head(detr, 8, heads={"class_embed": 8, "bbox_embed.layers.2": 4})  # the same, if it is not clear

    Args:
        model: any network whose output Linear or conv layers make.
        num_classes: rows of the new head; detectors and segmentation count the background, too, DETR "no object".
        keep: rows of the old one to keep: numbers, which become the first rows of the new one, in this order, in a
            sequence, a tensor or an array; or a dictionary from new rows to old ones, such as `rows_by_name` makes.
        example: an input that it takes, a tensor or a nest of tensors. Without one, images of usual sizes are tried.
        heads: names of heads, or of modules that hold them: each gets as many outputs for a class as it has now, which
            are those that its module states, or one, or four for a box. Or a dictionary from names of heads to numbers
            of outputs; one with the number that it has stays as it is.

    Returns:
        The names of the heads that changed.

    Raises:
        HeadError: there is no head; it is not clear which; a row to keep is not there; or the model fails with the new
            number. The model is then as it was.
    """
    classes = _number_of_classes(num_classes)
    rows = as_rows(keep)
    found = all_outputs(model, example)
    outputs = outputs_of(model, found, classes, heads)
    changed = {name: found.heads[name] for name in outputs}
    beside: list[tuple[nn.Module, str]] = []
    for name, head in changed.items():
        old = number_of_outputs(head)
        _refuse_head(model, head, repr(name))
        if rows and outputs[name] != classes:
            raise HeadError(
                f"keep counts classes, and {name!r} gets {outputs[name]} outputs for {classes} of them: only the model "
                "knows which belong to which. Replace it without keep, or use resize_head on each head, where rows are "
                "outputs"
            )
        refuse_rows_beyond(outputs[name], rows.keys(), "new", name)
        refuse_rows_beyond(old, rows.values(), "old", name)
        for_each = outputs[name] // classes
        if outputs[name] % classes == 0 and old % for_each == 0:
            beside += numbers_beside(model, name, CLASSES, old // for_each)
    states = {name: _state(head) for name, head in changed.items()}
    numbers = [(module, attribute, vars(module)[attribute]) for module, attribute in beside]
    try:
        for name, head in changed.items():
            _resize(head, outputs[name], rows, repr(name))
        for module, attribute, _ in numbers:
            setattr(module, attribute, classes)
        for training, image in found.inputs.items():
            _, error = made_by(model, image, training)
            if error:
                raise HeadError(
                    f"with {classes} classes the model stops behind {', '.join(changed)}: {first_line(error)}. It "
                    "keeps the number elsewhere, too: make it anew with that number, and copy what fits with "
                    "helpers.state_dict.load_matching"
                )
    except BaseException:
        for name, head in changed.items():
            _restore(head, states[name])
        for module, attribute, number in numbers:
            setattr(module, attribute, number)
        raise
    return tuple(changed)


def resize_head(head: Head, num_classes: int, keep: Rows = None, *, name: str = "this head") -> None:
    """Give one head other rows, in place; see `replace_head`.

    Raises:
        HeadError: as there; this head is then as it was.
    """
    classes = _number_of_classes(num_classes)
    rows = as_rows(keep)
    _refuse_head(None, head, repr(name))
    refuse_rows_beyond(classes, rows.keys(), "new", name)
    refuse_rows_beyond(number_of_outputs(head), rows.values(), "old", name)
    _resize(head, classes, rows, repr(name))


def _number_of_classes(num_classes: int) -> int:
    classes = whole_number(num_classes)
    if classes is None or classes < 1:
        raise HeadError(f"num_classes must be a whole number above 0, not {num_classes!r:.60}")
    return classes


def _refuse_head(model: nn.Module | None, head: Head, name: str) -> None:
    if not isinstance(head, Head):
        raise HeadError(f"{name} must be a Linear or a conv, not {type(head).__name__}")
    if getattr(head, "groups", 1) != 1:
        raise HeadError(f"{name} has {head.groups} groups; put an ungrouped conv in its place first")
    if why := why_not_plain(model, head, name):
        raise HeadError(why)


def _resize(head: Head, outputs: int, rows: dict[int, int], name: str) -> None:
    """Other rows, or the head as it was."""
    state = old_weight, old_bias, _ = _state(head)
    try:
        head.weight = _with_rows(old_weight, outputs)
        head.bias = None if old_bias is None else _with_rows(old_bias, outputs)
        _set_outputs(head, outputs)
        head.reset_parameters()
        _copy_rows(old_weight, head.weight, rows)
        if old_bias is not None and head.bias is not None:
            _copy_rows(old_bias, head.bias, rows)
    except Exception as error:  # no memory, a kind of tensor without random numbers, ...
        _restore(head, state)
        raise HeadError(f"{name} cannot get {outputs} outputs: {first_line(error)}") from error


def _with_rows(old: Tensor, rows: int) -> nn.Parameter:
    return nn.Parameter(old.detach().new_empty(rows, *old.shape[1:]))


@torch.no_grad()
def _copy_rows(old: Tensor, new: Tensor, rows: dict[int, int]) -> None:
    new[list(rows)] = old[list(rows.values())]


def _state(head: Head) -> State:
    return head.weight, head.bias, number_of_outputs(head)


def _restore(head: Head, state: State) -> None:
    head.weight, head.bias, outputs = state
    _set_outputs(head, outputs)


def _set_outputs(head: Head, outputs: int) -> None:
    setattr(head, "out_features" if isinstance(head, nn.Linear) else "out_channels", outputs)
