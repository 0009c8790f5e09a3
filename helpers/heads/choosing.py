"""Which heads get how many outputs: some tell classes apart, others give boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from ..errors import HeadError
from ..layers import whole_number
from .finding import Head, Outputs

Heads = str | Iterable[str] | Mapping[str, int]

# what a module calls the number of classes that it keeps; num_columns is that of torchvision's SSD
CLASSES = ("num_classes", "num_columns", "n_classes", "num_labels")


def outputs_of(model: nn.Module, found: Outputs, num_classes: int, heads: Heads | None) -> dict[str, int]:
    """The heads that change -> how many outputs each gets; see `replace_head`.

    Raises:
        HeadError: it is not clear which heads tell classes apart, or what `heads` says does not fit them.
    """
    counts = {name: number_of_outputs(head) for name, head in found.heads.items()}
    if heads is None:
        _refuse_to_guess(model, found, counts)
        return dict.fromkeys(counts, num_classes)
    if isinstance(heads, Mapping):
        told = _as_told(counts, heads)
        new = {name: number for name, number in told.items() if number != counts[name]}
        _refuse_to_forget(counts, told, min(counts[name] for name in new))
        return new
    chosen = _by_name(counts, heads)
    stated = {name: stated_classes(model, name, counts[name]) for name in chosen}
    if any(stated.values()):
        old_classes = next(filter(None, stated.values()))
        is_clear = all(number == old_classes for number in stated.values())
    else:  # as many outputs as classes, or the four numbers of a box for each
        numbers = {counts[name] for name in chosen}
        old_classes = min(numbers)
        is_clear = numbers <= {old_classes, 4 * old_classes} and (len(chosen) == 1 or 4 not in numbers)
    if not is_clear:
        raise HeadError(
            f"these heads do not count the same classes, or one gives boxes: {_listed(counts, chosen)}; choose those "
            "that tell classes apart, or say how many outputs each gets: heads={name: number}"
        )
    new = {name: counts[name] // old_classes * num_classes for name in chosen}
    if not any(stated.values()):
        _refuse_to_forget(counts, new, old_classes)
    return new


def number_of_outputs(head: Head) -> int:
    """Its rows."""
    return head.out_features if isinstance(head, nn.Linear) else head.out_channels


def stated_classes(model: nn.Module, name: str, outputs: int) -> int | None:
    """The number of classes that the nearest module around a head states, if its outputs are so many times something.

    What the whole model states is not asked, for many keep a number there that nothing reads.
    """
    parts = name.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        container = vars(model.get_submodule(".".join(parts[:depth])))
        for attribute in CLASSES:
            number = container.get(attribute)
            if type(number) is int and number > 0 and outputs % number == 0:
                return number
    return None


def _refuse_to_guess(model: nn.Module, found: Outputs, counts: Mapping[str, int]) -> None:
    """Without `heads`, all heads must be alike, and nothing else make an output."""
    in_eval = [name for name in counts if name not in found.auxiliary]
    how = (
        "choose with `heads` those that tell classes apart, by their names or that of a module that holds them; or say "
        "how many outputs each gets: heads={name: number}"
    )
    if len(set(counts.values())) > 1:
        raise HeadError(f"the heads have different numbers of outputs: {_listed(counts)}; {how}")
    if len(in_eval) > 1 and set(counts.values()) == {4}:
        raise HeadError(f"one of these heads may give boxes, for they have four outputs: {_listed(counts)}; {how}")
    if found.others:
        raise HeadError(f"an output is made by {found.others[0]!r}, and others by {_listed(counts)}; {how}")
    for name, count in counts.items():
        classes = stated_classes(model, name, count)
        if classes is not None and classes != count:
            raise HeadError(f"{name!r} has {count} outputs, {count // classes} for each of {classes} classes; {how}")


def _refuse_to_forget(counts: Mapping[str, int], chosen: Mapping[str, int], classes: int) -> None:
    """No head that is not chosen may look as if its outputs belonged to these classes, too: 1, 4, ... for each."""
    forgotten = {}
    for name, count in counts.items():
        if name not in chosen and (count % classes == 0 or classes == 4 * count):
            forgotten[name] = count
    if forgotten:
        raise HeadError(
            f"{_listed(forgotten)} may belong to the same classes as {_listed(counts, chosen)}; choose that, too, or "
            f"say that it stays as it is: heads={ {**chosen, **forgotten} }"
        )


def _as_told(counts: Mapping[str, int], heads: Mapping[str, int]) -> dict[str, int]:
    """What a dictionary says, if it can be."""
    told = {}
    for name, number in heads.items():
        if name not in counts:
            raise HeadError(f"{name!r} makes no output of this model; its heads are {_listed(counts)}")
        outputs = whole_number(number)
        if outputs is None or outputs < 1:
            raise HeadError(f"{name!r} must get a whole number of outputs above 0, not {number!r}")
        told[name] = outputs
    if not told:
        raise HeadError(f"heads names none; this model has {_listed(counts)}")
    if all(counts[name] == outputs for name, outputs in told.items()):
        raise HeadError(
            "a head that gets as many outputs as it has stays as it is, so nothing would change; name those that shall "
            "begin anew instead: heads=[name]"
        )
    return told


def _by_name(counts: Mapping[str, int], heads: object) -> list[str]:
    """The heads of these names, and those inside modules of these names."""
    names = [heads] if isinstance(heads, str) else heads
    if not isinstance(names, Iterable):
        raise HeadError(f"heads must be names, or a dictionary from names to numbers of outputs, not {heads!r:.60}")
    chosen: list[str] = []
    for name in names:
        inside = [head for head in counts if head == name or head.startswith(f"{name}.")]
        if not inside:
            raise HeadError(f"{name!r} makes no output of this model; its heads are {_listed(counts)}")
        chosen += [head for head in inside if head not in chosen]
    if not chosen:
        raise HeadError(f"heads names none; this model has {_listed(counts)}")
    return chosen


def _listed(counts: Mapping[str, int], names: Iterable[str] | None = None) -> str:
    """a (5 outputs), b (20 outputs)."""
    return ", ".join(f"{name} ({counts[name]} outputs)" for name in (counts if names is None else names))
