"""Lesson 08: the exercise that loads a file as a whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .feedback import NotYet, because, call

State = dict[str, Any]


class Small(nn.Module):
    """Weights, buffers, a frozen layer, a norm in eval mode; the last tensor is a bias."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv, self.norm = nn.utils.skip_init(nn.Conv2d, 3, 4, (2, 5)), nn.BatchNorm2d(4)
        self.fc = nn.utils.skip_init(nn.Linear, 6, 7)
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.ndim:
                    tensor.copy_(torch.rand(tensor.shape, generator=generator))
                else:
                    tensor.fill_(seed)
        self.conv.requires_grad_(False)
        self.norm.eval()


class RunsSomething:
    """A pickle that makes a folder when it is read, as another one could remove one."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def verify_load_whole(answer: Any) -> None:
    """8.3 `load_whole(path, model) -> the same model`."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        path, saved = folder / "last.pt", dict(Small(83).state_dict())
        for case, state in {
            "for a file that fits": saved,
            "for a file with its names in another order": dict(reversed(saved.items())),
        }.items():
            torch.save(state, path)
            expect_loaded(answer, path, saved, case)
        for case, (state, cause) in bad_states(saved).items():
            torch.save(state, path)
            expect_refused(answer, path, case, cause)
        torch.save(saved, path)
        whole = path.read_bytes()
        for case, (damage, cause) in damages(saved).items():
            path.write_bytes(damage(whole))
            expect_refused(answer, path, case, cause)
        ran = folder / "ran"
        torch.save({**saved, "fc.bias": RunsSomething(ran)}, path)
        case = "for a file that runs a program when it is unpickled"
        refused = _outcome(answer, path, Small(80))
        if ran.exists():
            why = because("weights_only=False runs whatever stands in the file; leave it True.")
            raise NotYet(f"{case}, the program was run.{why}")
        expect_value_error(refused, case, "torch.load refuses it by itself; the model must stay as it is.")


def expect_loaded(answer: Any, path: Path, saved: State, case: str) -> None:
    call(answer, path, Small(80), case=case, crashes=LOADING_CRASHES, may_change=[1])
    model, before = Small(80), Small(80)
    places = _places(model)
    got = call(lambda path: answer(path, model), path, case=case, crashes=LOADING_CRASHES)
    if got is not model:
        cause = None
        if isinstance(got, nn.Module):
            cause = "a copy is returned; the model that was handed in is to get the numbers."
        elif not isinstance(got, dict):
            cause = "load_state_dict returns the names that do not fit; return model."
        raise NotYet(f"{case}, the model itself should be returned, not a {type(got).__name__}.{because(cause)}")
    expect_numbers(model, saved, case, "in the file", _why_other_numbers(model, saved))
    expect_same_objects(model, before, places, case)


def _why_other_numbers(model: nn.Module, saved: State) -> str | None:
    now, before = model.state_dict(), Small(80).state_dict()
    left = [name for name in saved if torch.equal(now[name], before[name])]
    if len(left) == len(saved):
        return "the model was left as it was; was a copy loaded, or state_dict() changed without copy_?"
    if left and not any(name in dict(model.named_parameters()) for name in left):
        return "buffers, such as those of a BatchNorm, are in state_dict(), too, but not in parameters()."
    return None


def expect_numbers(model: nn.Module, wanted: State, case: str, where: str, cause: str | None) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.shape != wanted[name].shape or not torch.equal(tensor, wanted[name]):
            raise NotYet(f"{case}, {name!r} has other numbers afterwards than {where}.{because(cause)}")


def _places(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Which objects hold the numbers, and where these are in memory."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: (id(tensor), tensor.data_ptr()) for name, tensor in tensors}


def expect_same_objects(model: nn.Module, before: nn.Module, places: dict[str, tuple[int, int]], case: str) -> None:
    for name, (thing, place) in _places(model).items():
        if thing != places[name][0]:
            cause = "assign=True, or a new nn.Parameter; an optimizer that was made before goes on with the old one."
            raise NotYet(f"{case}, {name!r} is another tensor afterwards; its numbers should change.{because(cause)}")
        if place != places[name][1]:
            cause = "`.data = ...` leaves behind whatever shares memory with it, a tied layer for instance; copy_."
            raise NotYet(f"{case}, {name!r} has its numbers in other memory afterwards.{because(cause)}")
    for (name, now), then in zip(model.named_parameters(), before.parameters(), strict=True):
        if now.requires_grad != then.requires_grad:
            raise NotYet(f"{case}, requires_grad of {name!r} is {now.requires_grad} now; leave it as it is.")
    for (name, now), then in zip(model.named_modules(), before.modules(), strict=True):
        if now.training != then.training:
            what = f"{name!r}" if name else "the model"
            mode = "train" if now.training else "eval"
            raise NotYet(f"{case}, {what} is in {mode} mode now; loading leaves train and eval mode as they are.")


def bad_states(saved: State) -> dict[str, tuple[State, str]]:
    """Dictionaries that do not fit, and the likely cause if they are loaded all the same."""
    without = {name: tensor for name, tensor in saved.items() if name != "norm.running_var"}
    without_bias = {name: tensor for name, tensor in saved.items() if name != "fc.bias"}
    other = torch.full((9,), 0.5)
    ask = "compare the names in both directions: set(state) != set(model.state_dict())."
    shapes = "compare the shapes of all tensors; copy_ does not complain if it can repeat one."
    return {
        "for a file without 'norm.running_var'": (without, f"strict=False, or a loop over what is in both; {ask}"),
        "for a file with 'extra.weight', too": ({**saved, "extra.weight": other}, f"the other way round, too; {ask}"),
        "for a file with 'fc.offset' in place of 'fc.bias'": (
            {**without_bias, "fc.offset": saved["fc.bias"]},
            f"only their number was compared, or they were taken by position; {ask}",
        ),
        "for a file whose 'fc.bias' is (9,), not (7,)": ({**saved, "fc.bias": other}, "only the names were compared."),
        "for a file whose 'fc.bias' is (1,), not (7,)": ({**saved, "fc.bias": other[:1]}, shapes),
        "for a file whose 'fc.weight' is (6, 7), not (7, 6)": (
            {**saved, "fc.weight": saved["fc.weight"].T.contiguous()},
            "only the numbers of elements were compared; compare the shapes.",
        ),
    }


def damages(saved: State) -> dict[str, tuple[Callable[[bytes], bytes], str]]:
    """What can happen to a file, and the likely cause if it is loaded all the same."""
    weight = saved["conv.weight"].numpy().tobytes()

    def flip(data: bytes) -> bytes:
        place = data.index(weight) + len(weight) // 2
        return data[:place] + bytes([data[place] ^ 0b100]) + data[place + 1 :]

    unnoticed = "torch.load does not look at the checksums; testzip() raises nothing, it returns the name, or None: "
    unnoticed += "raise yourself unless it is None."
    return {
        "for a file with one wrong bit in 'conv.weight'": (flip, unnoticed),
        "for a file of which only the first half is there": (lambda data: data[: len(data) // 2], "it is cut short."),
        "for an empty file": (lambda data: b"", "it is cut short."),
    }


def expect_refused(answer: Any, path: Path, case: str, cause: str) -> None:
    model, before = Small(80), Small(80)
    places = _places(model)
    refused = _outcome(answer, path, model)
    if isinstance(refused, Exception):
        again = "load_state_dict has copied all that fits before it complains; compare first, and load then."
        expect_numbers(model, before.state_dict(), f"{case}, which is refused", "before", again)
        expect_same_objects(model, before, places, f"{case}, which is refused")
    expect_value_error(refused, case, cause)


def _outcome(answer: Any, path: Path, model: nn.Module) -> Any:
    """What the answer returns or raises."""
    try:
        return answer(path, model)
    except (Exception, SystemExit) as error:
        return error


def expect_value_error(got: Any, case: str, cause: str) -> None:
    if isinstance(got, ValueError):
        return
    if isinstance(got, BaseException):
        kind = type(got).__name__
        text = str(got).strip()
        said = f"{kind}: {text.splitlines()[0][:100]}" if text else kind
        raise NotYet(f"{case}, a ValueError is wanted, not {said}{because(OTHER_ERRORS.get(kind))}")
    found = "returns None" if got is None else f"returns a {type(got).__name__}"
    raise NotYet(f"{case}, a ValueError is wanted, but your function {found}.{because(cause)}")


OTHER_ERRORS = {
    "BadZipFile": "zipfile.BadZipFile is no ValueError; catch it: raise ValueError(...) from error.",
    "RuntimeError": "RuntimeError, of torch.load or load_state_dict, is no ValueError; catch it, or look before.",
    "UnpicklingError": "pickle.UnpicklingError is no ValueError; catch it: raise ValueError(...) from error.",
    "EOFError": "torch.load says so of an empty file; ask zipfile first, and catch what it raises.",
    "AssertionError": "an assert raises an AssertionError, and none at all under python -O; raise ValueError(...).",
    "KeyError": "a name is missing; compare the names first.",
    "AttributeError": "not everything in the file is a tensor; catch what torch.load raises.",
}
LOADING_CRASHES = [
    ("File is not a zip file", "this one is a good file; open it by ZipFile(path)."),
    ("The size of tensor", "a tensor of another name; the order in the file is free, so take them by name."),
    ("ValueError", "this file fits; testzip() returns None if all is well, and the order of the names is free."),
    ("a leaf Variable that requires grad", "a parameter is changed in place under torch.no_grad()."),
    ("Expected state_dict to be dict-like", "load_state_dict takes what torch.load(path) returns, not the path."),
    ("unexpected keyword argument", "model.load_state_dict and torch.load have other options."),
]
