"""Exercise 3.2: give tensors new names, all at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare_dicts, must_refuse


def right(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    renamed = with_overwriting(state_dict, new_names)
    if len(renamed) < len(state_dict):
        raise ValueError("two tensors would get one name")
    return renamed


def with_overwriting(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    return {new_names.get(key, key): tensor for key, tensor in state_dict.items()}


def one_after_the_other(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    renamed = dict(state_dict)
    for old, new in new_names.items():
        renamed[new] = renamed.pop(old)
    return renamed


def backwards(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    renamed = dict(state_dict)
    for old, new in reversed(new_names.items()):
        renamed[new] = renamed.pop(old)
    return renamed


def highest_first(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    renamed = dict(state_dict)
    for old in sorted(new_names, reverse=True):
        renamed[new_names[old]] = renamed.pop(old)
    return renamed


def in_place(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    for old, new in reversed(new_names.items()):
        state_dict[new] = state_dict.pop(old)
    return state_dict


def while_walking(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    renamed = dict(state_dict)
    for key in renamed:
        if key in new_names:
            renamed[new_names[key]] = state_dict[key]
    return renamed


def refuses_what_is_there(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    if any(new in state_dict for new in new_names.values()):
        raise ValueError("this name is taken")
    return with_overwriting(state_dict, new_names)


def only_duplicates_in_the_new_names(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    if len(set(new_names.values())) < len(new_names):
        raise ValueError("twice")
    return with_overwriting(state_dict, new_names)


def get_without_default(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> Any:
    renamed = {new_names.get(key): tensor for key, tensor in state_dict.items()}
    if len(renamed) < len(state_dict):
        raise ValueError("two tensors would get one name")
    return renamed


def another_error(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    renamed = with_overwriting(state_dict, new_names)
    if len(renamed) < len(state_dict):
        raise KeyError("twice")
    return renamed


def in_the_first_that_fits(change: Callable[[str, str, str], str]) -> Callable:
    """An answer that changes each name by the first pair that changes it."""

    def rename(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
        renamed = {}
        for key, tensor in state_dict.items():
            changed = [change(key, old, new) for old, new in new_names.items()]
            renamed[next((name for name in changed if name != key), key)] = tensor
        if len(renamed) < len(state_dict):
            raise ValueError("two tensors would get one name")
        return renamed

    return rename


def refusing_if(clash: Callable[[Tensor, Tensor], bool]) -> Callable:
    """An answer that minds two tensors of one name only if this holds of them."""

    def rename(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
        renamed: dict[str, Tensor] = {}
        for key, tensor in state_dict.items():
            new = new_names.get(key, key)
            if new in renamed and clash(renamed[new], tensor):
                raise ValueError("two tensors would get one name")
            renamed[new] = tensor
        return renamed

    return rename


def refuses_tied_ones(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    if len({tensor.data_ptr() for tensor in state_dict.values()}) < len(state_dict):
        raise ValueError("one tensor has two names")
    return right(state_dict, new_names)


def refuses_what_stays(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    if any(old == new for old, new in new_names.items()):
        raise ValueError("this name is taken")
    return right(state_dict, new_names)


def minds_one_loss(state_dict: dict[str, Tensor], new_names: dict[str, str]) -> dict[str, Tensor]:
    renamed = with_overwriting(state_dict, new_names)
    if len(renamed) == len(state_dict) - 1:
        raise ValueError("two tensors would get one name")
    return renamed


def keeping(change: Callable[[Tensor], Any]) -> Callable:
    """An answer that does something to the tensors."""
    return lambda state_dict, new_names: {key: change(t) for key, t in right(state_dict, new_names).items()}


CHAINED = (
    "the names were changed one after the other, so that 24 became 26, then 28, then 30; look up each old name once."
)
LOST = "the names were changed one after the other; look up each old name once."
DROPPED = "names that are not in `new_names` stay as they are."
GET_WITHOUT_DEFAULT = (
    "new_names.get(key) is None for a name that stays; its second argument is the default: get(key, key)."
)
STILL_THERE = "the old name is still there."
OVERWRITTEN = "the later tensor overwrote the earlier one; compare the number of names before and after."
STAYS = "look also at the names that stay, not only at those in `new_names`."
PART = "whole names are given, not parts of names: replace() and re.sub find them inside other names, too."
EQUAL = "equal numbers are still two tensors; look at the names alone."
SHAPES = "tensors of different shapes can get one name, too; look at the names alone."
TIED = "one tensor may have two names; look at the names, not at what they name."
ITSELF = "a name that is mapped to itself stays, and clashes with nothing."
MORE_LOST = "two and more can be lost at once: any name fewer than before is one too few."
AS_IT_IS = "a tensor is handed on as it is, whatever its shape, type and numbers."
NOT_ALL_NAMES = "not every name is in `new_names`; dict.get has a default."
GROWS = "a dictionary cannot grow while it is walked through; fill a new one."
NOTHING_LOST = (
    "here each tensor ends under a name of its own, so nothing is lost. Look up each old name once, fill a new "
    "dictionary, and look for names that meet in that. (A name that stays keeps itself: new_names.get(key, key).)"
)

MISTAKES = (
    Mistake(CHAINED, one_after_the_other),
    Mistake(CHAINED, backwards),
    Mistake(LOST, highest_first),
    Mistake("changes what it was given", in_place),
    Mistake(GROWS, while_walking),
    Mistake(
        GET_WITHOUT_DEFAULT, lambda state_dict, new_names: {new_names.get(key): t for key, t in state_dict.items()}
    ),
    Mistake("(A name that stays keeps itself", get_without_default),
    Mistake(NOTHING_LOST, refuses_what_is_there),
    Mistake(NOT_ALL_NAMES, lambda state_dict, new_names: {new_names[key]: t for key, t in state_dict.items()}),
    Mistake(
        DROPPED,
        lambda state_dict, new_names: {new_names[key]: t for key, t in state_dict.items() if key in new_names},
    ),
    Mistake(STILL_THERE, lambda state_dict, new_names: state_dict),
    Mistake(OVERWRITTEN, with_overwriting),
    Mistake(PART, in_the_first_that_fits(lambda key, old, new: key.replace(old, new) if old in key else key)),
    Mistake(PART, in_the_first_that_fits(lambda key, old, new: re.sub(f"^{old}$", new, key))),
    Mistake(PART, in_the_first_that_fits(lambda key, old, new: new + key[len(old) :] if key.startswith(old) else key)),
    Mistake(EQUAL, refusing_if(lambda one, other: not torch.equal(one, other))),
    Mistake(SHAPES, refusing_if(lambda one, other: one.shape == other.shape)),
    Mistake(TIED, refuses_tied_ones),
    Mistake(ITSELF, refuses_what_stays),
    Mistake(MORE_LOST, minds_one_loss),
    Mistake(AS_IT_IS, keeping(Tensor.float)),
    Mistake(AS_IT_IS, keeping(lambda tensor: tensor.reshape(-1))),
    Mistake(AS_IT_IS, lambda state_dict, new_names: right({k: t for k, t in state_dict.items() if t.any()}, new_names)),
    Mistake("returns one", lambda *given: ValueError("twice") if given[1].get("x") == "z" else right(*given)),
    Mistake(STAYS, only_duplicates_in_the_new_names),
    Mistake("a ValueError is wanted, not KeyError", another_error),
)

CASES = {
    "for 24 to 26, 26 to 28 and 28 to 30": {
        "a.24.weight": "a.26.weight",
        "a.26.weight": "a.28.weight",
        "a.28.weight": "a.30.weight",
    },
    "for 28 to 30, 26 to 28 and 24 to 26": {
        "a.28.weight": "a.30.weight",
        "a.26.weight": "a.28.weight",
        "a.24.weight": "a.26.weight",
    },
    "if 24 and 28 change places": {"a.24.weight": "a.28.weight", "a.28.weight": "a.24.weight"},
}
MISSING = {
    "steps": AS_IT_IS,
    "a.2.": DROPPED,
    "head": DROPPED,
    "a.26": LOST,
    "a.28": LOST,
    "a.24": LOST,
}  # part of a name -> why
CRASHES = [
    ("KeyError: 'a.2.weight'", NOT_ALL_NAMES),
    ("KeyError: 'head.bias'", NOT_ALL_NAMES),
    ("KeyError: None", GET_WITHOUT_DEFAULT),
    ("NoneType", GET_WITHOUT_DEFAULT),
    ("changed size", GROWS),
    ("keys changed", "a dictionary cannot change while it is walked through; fill a new one."),
    ("ValueError", NOTHING_LOST),
]


def verify(answer: Any) -> None:
    """`rename(state_dict, new_names) -> renamed`."""
    old = [*(f"a.{i}.weight" for i in (2, 24, 26, 28)), "head.bias"]
    state_dict = {key: torch.full((i + 2,), i + 1.0) for i, key in enumerate(old)}
    state_dict["steps"] = torch.tensor(0)
    for name, new_names in CASES.items():
        with case(name):
            got = call(answer, state_dict, new_names, crashes=CRASHES)
            if isinstance(got, Mapping) and "a.30.weight" in got and "a.26.weight" not in got:
                raise NotYet(f"nothing is called 'a.26.weight' any more.{because(CHAINED)}")
            if isinstance(got, Mapping) and None in got:
                raise NotYet(f"a tensor is called None.{because(GET_WITHOUT_DEFAULT)}")
            expected = right(state_dict, new_names)
            compare_dicts(got, expected, "the result", MISSING, {"a.24.weight": STILL_THERE})
    parts = {"stem.0.weight": torch.ones(2), "system.0.weight": torch.zeros(3), "stem_0.weight": torch.ones(4)}
    parts["stem.0.weight_g"] = torch.ones(5)
    new_names = {"stem.0.weight": "first.weight"}
    with case("if one name occurs in another one"):
        got = call(answer, parts, new_names, crashes=[("ValueError", PART), *CRASHES])
        compare_dicts(
            got, right(parts, new_names), "the result", {"": PART}, {"syfirst.weight": PART, "first.weight_g": PART}
        )
    tied = {"x": torch.ones(2), "y": torch.ones(3)}
    tied["z"] = tied["x"]
    with case("if one tensor has two names"):
        got = call(answer, tied, {"x": "a", "z": "b"}, crashes=[("ValueError", TIED), *CRASHES])
        compare_dicts(got, right(tied, {"x": "a", "z": "b"}), "the result", {"": TIED})
    with case("if a name is mapped to itself"):
        got = call(answer, tied, {"x": "x", "y": "b"}, crashes=[("ValueError", ITSELF), *CRASHES])
        compare_dicts(got, right(tied, {"x": "x", "y": "b"}), "the result", {"": ITSELF})
    two = {"x": torch.ones(2), "w": torch.ones(4), "y": torch.zeros(2)}
    must_refuse(answer, two, {"x": "z", "y": "z"}, case="if two names become one", cause=OVERWRITTEN)
    must_refuse(answer, two, {"x": "z", "w": "z"}, case="if two of other shapes become one", cause=SHAPES)
    must_refuse(answer, two, dict.fromkeys(two, "z"), case="if three names become one", cause=MORE_LOST)
    must_refuse(answer, two, {"x": "y"}, case="if a new name is that of a tensor which stays", cause=STAYS)
    twins = {"x": torch.ones(2), "y": torch.ones(2)}
    must_refuse(answer, twins, {"x": "z", "y": "z"}, case="if two equal tensors get one name", cause=EQUAL)


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Fill a new dictionary, and look up each old name once.",
        "new_names.get(key, key) is the new name, or the old one if there is no new one.",
        "renamed = {new_names.get(key, key): t for key, t in state_dict.items()}; if it is shorter than "
        "state_dict, two names became one.",
    ),
    praise="all at once, nothing lost, and no two under one name.",
)
