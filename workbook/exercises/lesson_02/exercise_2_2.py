"""Exercise 2.2: take nest and prefix off a checkpoint, where there are any."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from ..checking import Exercise, Mistake, call, case, compare_dicts


def right(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    tensors = checkpoint.get("state_dict", checkpoint)
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}


def renamed(change: Any) -> Any:
    """An answer that finds the tensors, and changes their names in its own way."""
    return lambda checkpoint: {change(key): t for key, t in checkpoint.get("state_dict", checkpoint).items()}


DEEPER = "the tensors lie one level deeper."
BESIDE = "the tensors lie one level deeper, and what lies beside them is none."
PREFIX = "the prefix is still there, on this name at least."
REPLACED = "replace() takes away `module.` in the middle, too; removeprefix() does not."
SEVEN = "key[7:] cuts off seven letters even where there is no prefix; use removeprefix()."
STRIPPED = "strip() and lstrip() take away letters, not a word; use removeprefix()."
DOT = "the dot belongs to the prefix."
LAST_PART = "split() cuts at every `module.`, and you took the last part; use removeprefix()."
SPLIT = "split() cuts at every `module.`; use removeprefix()."
ONCE = "take the prefix off once; here the rest is a name that begins like it."
FIRST = "the first dictionary in a checkpoint may be the optimizer's; ask for the key `state_dict`."
NOT_NESTED = "not every checkpoint is nested; look whether the key is there."

NAMES = (
    Mistake(BESIDE, lambda checkpoint: checkpoint),
    Mistake(PREFIX, lambda checkpoint: checkpoint["state_dict"]),
    Mistake(PREFIX, lambda checkpoint: checkpoint.get("state_dict", checkpoint)),
    Mistake(REPLACED, renamed(lambda key: key.replace("module.", ""))),
    Mistake(SEVEN, renamed(lambda key: key[7:])),
    Mistake(STRIPPED, renamed(lambda key: key.lstrip("module."))),
    Mistake(DOT, renamed(lambda key: key.removeprefix("module"))),
    Mistake(LAST_PART, renamed(lambda key: key.split("module.")[-1])),
    Mistake(NOT_NESTED, lambda checkpoint: {k.removeprefix("module."): t for k, t in checkpoint["state_dict"].items()}),
)


def as_often_as_it_comes(key: str) -> str:
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key


def in_the_first_dictionary(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    nests = [value for value in checkpoint.values() if isinstance(value, dict)]
    tensors = nests[0] if nests else checkpoint
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}


TYPES = "take the tensors as they are."
ANY_MAPPING = "what is nested may be an OrderedDict, too; ask for the key, not for a type."
EXACTLY = "other keys contain `state_dict`, too, such as an optimizer's; ask for exactly this one."
OTHER_PREFIX = "only `module.` is to be taken off."


def only_plain_dictionaries(checkpoint: dict[str, Any]) -> dict[str, Any]:
    inner = checkpoint.get("state_dict")
    return {key.removeprefix("module."): t for key, t in (inner if type(inner) is dict else checkpoint).items()}


def whatever_sounds_like_it(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return right(next((value for key, value in checkpoint.items() if key.endswith("state_dict")), checkpoint))


def off_with_model(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("model."): tensor for key, tensor in right(checkpoint).items()}


MISTAKES = (
    Mistake(ANY_MAPPING, only_plain_dictionaries),
    Mistake(EXACTLY, whatever_sounds_like_it),
    Mistake(OTHER_PREFIX, off_with_model),
    Mistake(TYPES, lambda checkpoint: {key: tensor.float() for key, tensor in right(checkpoint).items()}),
    Mistake(TYPES, lambda checkpoint: {key: tensor for key, tensor in right(checkpoint).items() if tensor.ndim}),
    *NAMES,
    Mistake(ONCE, renamed(as_often_as_it_comes)),
    Mistake(FIRST, in_the_first_dictionary),
)

UNWANTED = {  # a name that should not be there -> why it is
    "gain": OTHER_PREFIX,
    "state_dict": DEEPER,
    "epoch": BESIDE,
    "state": FIRST,
    "param_groups": FIRST,
    "module.layer1.weight": PREFIX,
    "encoder.bias": REPLACED,
    "weight": SEVEN,
    "ayer1.weight": STRIPPED,
    "ncoder.module.bias": STRIPPED,
    ".layer1.weight": DOT,
    "bias": LAST_PART,
    "encoder.": SPLIT,
}
UNWANTED_HERE = {
    "nested, in an OrderedDict": dict.fromkeys(("state_dict", "epoch"), ANY_MAPPING),
    "nested behind an optimizer called so": dict.fromkeys(("state", "param_groups"), EXACTLY),
}

CRASHES = [
    ("'state_dict'", NOT_NESTED),
    ("'int' object", "beside the tensors lies `epoch`; take what is under 'state_dict' first."),
]


def verify(answer: Any) -> None:
    """`unwrap(checkpoint) -> flat dict`."""
    tensors = {"layer1.weight": torch.ones(2, 3), "encoder.module.bias": torch.zeros(4), "modules.bias": torch.ones(5)}
    tensors |= {"model.gain": torch.ones(1, 4).half(), "norm.num_batches_tracked": torch.tensor(7)}
    prefixed = {f"module.{key}": tensor for key, tensor in tensors.items()}
    checkpoints = {
        "nested and prefixed": {"epoch": 5, "state_dict": prefixed},
        "nested only": {"state_dict": tensors, "epoch": 5},
        "prefixed only": prefixed,
        "flat already": tensors,
        "prefixed in part": {f"module.{key}" if "1" in key else key: tensor for key, tensor in tensors.items()},
    }
    optimizer = {"state": {0: {"step": torch.ones(())}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoints["prefixed but for the first"] = {k if "1" in k else f"module.{k}": t for k, t in tensors.items()}
    checkpoints["nested, with nothing beside"] = {"state_dict": prefixed}
    checkpoints["nested, in an OrderedDict"] = {"epoch": 5, "state_dict": OrderedDict(prefixed)}
    checkpoints["nested behind an optimizer"] = {"optimizer": optimizer, "state_dict": prefixed}
    checkpoints["nested behind an optimizer called so"] = {"optimizer_state_dict": optimizer, "state_dict": prefixed}
    for kind, checkpoint in checkpoints.items():
        with case(f"for a checkpoint that is {kind}"):
            got = call(answer, checkpoint, crashes=CRASHES)
            causes = {"gain": TYPES, "num_batches": TYPES}
            compare_dicts(got, tensors, "the result", causes, UNWANTED | UNWANTED_HERE.get(kind, {}))
    with case("for a prefixed checkpoint of a single layer"):
        single = {"module.weight": torch.ones(2, 3), "module.bias": torch.zeros(2)}
        expected = {key.removeprefix("module."): tensor for key, tensor in single.items()}
        compare_dicts(call(answer, single, crashes=CRASHES), expected, "the result", {}, dict.fromkeys(single, PREFIX))
    inside = {"module.weight": torch.ones(2, 3), "head.bias": torch.zeros(4)}
    with case("for a prefixed checkpoint of a model with a part called `module`"):
        got = call(answer, {f"module.{key}": tensor for key, tensor in inside.items()}, crashes=CRASHES)
        compare_dicts(got, inside, "the result", {"module": ONCE}, {"weight": ONCE})


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Two steps: take what lies under 'state_dict' if that key is there, then take the prefix off each name.",
        "checkpoint.get('state_dict', checkpoint) is the checkpoint itself if the key is missing.",
        "'module.a'.removeprefix('module.') is 'a', and 'a'.removeprefix('module.') is 'a'.",
    ),
    praise="it takes off what is there, and leaves alone what is not.",
)
