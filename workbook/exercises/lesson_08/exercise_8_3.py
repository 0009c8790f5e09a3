"""Exercise 8.3: load a file as a whole, or not at all."""

from __future__ import annotations

import copy
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checking import Exercise, Mistake, NotYet, because, call, case
from .files import RunsSomething, Small, with_a_wrong_bit

State = dict[str, Any]


def right(path: Path, model: nn.Module) -> nn.Module:
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        state = torch.load(path)
    except (zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path.name} cannot be read") from error
    if damaged:
        raise ValueError(f"{path.name}: the checksum of {damaged} does not hold")
    if shapes(state) != shapes(model.state_dict()):
        raise ValueError(f"{path.name} has other names or shapes than the model")
    model.load_state_dict(state)
    return model


def shapes(state: State) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def read_checked(path: Path) -> State:
    try:
        if zipfile.ZipFile(path).testzip():
            raise ValueError("damaged")
        return torch.load(path)
    except Exception as error:
        raise ValueError("cannot be read") from error


def same_shapes(state: State, wanted: State) -> bool:
    return shapes(state) == shapes(wanted)


def fill(model: nn.Module, state: State) -> None:
    model.load_state_dict(state)


def loading(
    read: Callable[[Path], State] = read_checked,
    fits: Callable[[State, State], bool] = same_shapes,
    fill: Callable[[nn.Module, State], Any] = fill,
    after: Callable[[nn.Module], Any] = lambda model: model,
) -> Callable[[Path, nn.Module], Any]:
    """An answer that does what `right` does, but for the steps that are given.

    Args:
        read: gives the dictionary in the file.
        fits: whether that dictionary is one for the model, whose own comes second.
        fill: puts it into the model.
        after: what is done to the model then, and returned.
    """

    def answer(path: Path, model: nn.Module) -> Any:
        state = read(path)
        if not fits(state, model.state_dict()):
            raise ValueError("does not fit")
        fill(model, state)
        return after(model)

    return answer


def read_unchecked(path: Path) -> State:
    try:
        return torch.load(path)
    except Exception as error:
        raise ValueError("cannot be read") from error


def waits_for_an_error(path: Path) -> State:
    try:
        zipfile.ZipFile(path).testzip()
        return torch.load(path)
    except Exception as error:
        raise ValueError("cannot be read") from error


def reads_anything(path: Path) -> State:
    if not zipfile.is_zipfile(path) or zipfile.ZipFile(path).testzip():
        raise ValueError("damaged")
    return torch.load(path, weights_only=False)


def lets_errors_of_zipfile_through(path: Path) -> State:
    if zipfile.ZipFile(path).testzip():
        raise ValueError("damaged")
    return read_unchecked(path)


def lets_errors_of_torch_through(path: Path) -> State:
    try:
        if zipfile.ZipFile(path).testzip():
            raise ValueError("damaged")
    except zipfile.BadZipFile as error:
        raise ValueError("cannot be read") from error
    return torch.load(path)


def reads_first(path: Path) -> State:
    state = torch.load(path)
    if zipfile.ZipFile(path).testzip():
        raise ValueError("damaged")
    return state


def same_names(state: State, wanted: State) -> bool:
    return set(state) == set(wanted)


def same_number(state: State, wanted: State) -> bool:
    return len(state) == len(wanted)


def same_sizes(state: State, wanted: State) -> bool:
    return same_names(state, wanted) and all(state[name].numel() == wanted[name].numel() for name in wanted)


def same_order(state: State, wanted: State) -> bool:
    return list(state) == list(wanted) and shapes(state) == shapes(wanted)


def same_shapes_in_both(state: State, wanted: State) -> bool:
    return all(state[name].shape == wanted[name].shape for name in set(state) & set(wanted))


def none_missing(state: State, wanted: State) -> bool:
    return all(name in state and state[name].shape == wanted[name].shape for name in wanted)


def same_shapes_or_one_number(state: State, wanted: State) -> bool:
    return same_names(state, wanted) and all(
        tensor.shape in (wanted[name].shape, (1,)) for name, tensor in state.items()
    )


def not_strict(model: nn.Module, state: State) -> None:
    model.load_state_dict(state, strict=False)


def assigns(model: nn.Module, state: State) -> None:
    model.load_state_dict(state, assign=True)


def sets_data(model: nn.Module, state: State) -> None:
    for name, parameter in model.named_parameters():
        parameter.data = state[name]
    for name, buffer in model.named_buffers():
        buffer.copy_(state[name])


def fills_parameters_only(model: nn.Module, state: State) -> None:
    for name, parameter in model.named_parameters():
        parameter.data.copy_(state[name])


def fills_by_position(model: nn.Module, state: State) -> None:
    for into, tensor in zip(model.state_dict().values(), state.values(), strict=True):
        into.copy_(tensor)


def fills_what_is_in_both(model: nn.Module, state: State) -> None:
    for name, into in model.state_dict().items():
        if name in state:
            into.copy_(state[name])


def fills_reshaped(model: nn.Module, state: State) -> None:
    for name, into in model.state_dict().items():
        into.copy_(state[name].reshape(into.shape))


def fills_a_copy(model: nn.Module, state: State) -> None:
    copy.deepcopy(model).load_state_dict(state)


def only_of(part: str) -> Callable[[State, State], bool]:
    """Compares the shapes of those tensors alone whose name contains this."""

    def fits(state: State, wanted: State) -> bool:
        return same_names(state, wanted) and all(
            state[name].shape == tensor.shape for name, tensor in wanted.items() if part in name
        )

    return fits


def squeezed(state: State, wanted: State) -> bool:
    return same_names(state, wanted) and all(
        state[name].squeeze().shape == tensor.squeeze().shape for name, tensor in wanted.items()
    )


def read_without_module(path: Path) -> State:
    return {name.removeprefix("module."): tensor for name, tensor in read_checked(path).items()}


def undoes_with_shared_memory(path: Path, model: nn.Module) -> nn.Module:
    before = model.state_dict()
    try:
        model.load_state_dict(read_checked(path))
    except RuntimeError as error:
        model.load_state_dict(before)
        raise ValueError("does not fit") from error
    return model


def deletes_the_file(path: Path, model: nn.Module) -> nn.Module:
    right(path, model)
    path.unlink()
    return model


def zeroes(model: nn.Module) -> nn.Module:
    model.zero_grad()
    return model


def loads_at_once(path: Path, model: nn.Module) -> nn.Module:
    model.load_state_dict(torch.load(path))
    return model


def asserts(path: Path, model: nn.Module) -> nn.Module:
    state = read_checked(path)
    assert shapes(state) == shapes(model.state_dict())
    model.load_state_dict(state)
    return model


def only_prints(path: Path, model: nn.Module) -> nn.Module:
    try:
        return right(path, model)
    except ValueError as error:
        print(error)
        return model


COPIED_BEFORE = (
    "load_state_dict has copied all that fits before it complains; compare first, and load then. (A state_dict() kept "
    "to undo it shares the model's memory.)"
)
BOTH_DIRECTIONS = "compare the names in both directions: set(state) != set(model.state_dict())."
NOT_STRICT = f"strict=False, or a loop over what is in both; {BOTH_DIRECTIONS}"
OTHER_WAY_ROUND = f"the other way round, too; {BOTH_DIRECTIONS}"
COUNTED = f"only their number was compared, or they were taken by position; {BOTH_DIRECTIONS}"
ALL_TENSORS = "compare the shapes of all tensors: kernels, buffers and counters, too."
PREFIX = "a name with `module.` in front is another name."
FLOAT = "float(), half() and double() change the model; its tensors keep their type."
DELETED = "the file is not yours to change."
NO_GRADIENTS = "zero_grad() is not asked for."
ONLY_NAMES = "only the names were compared."
REPEATED = "compare the shapes of all tensors; copy_ does not complain if it can repeat one."
ONLY_SIZES = "only the numbers of elements were compared; compare the shapes."
NO_CHECKSUM = (
    "torch.load does not look at the checksums; testzip() raises nothing, it returns the name, or None: raise yourself "
    "unless it is None."
)
CUT_SHORT = "it is cut short."
RUN = "weights_only=False runs whatever stands in the file; leave it True."
REFUSED_ANYWAY = "torch.load refuses it by itself; the model must stay as it is."
NOT_TOLD = "the model is left as it was, but whoever called does not learn that the file is bad: raise ValueError(...)."
COPY_RETURNED = "a copy is returned; the model that was handed in is to get the numbers."
REPORT = "load_state_dict returns the names that do not fit; return model."
NOT_FILLED = "the model was left as it was; was a copy loaded, or state_dict() changed without copy_?"
BUFFERS = "buffers, such as those of a BatchNorm, are in state_dict(), too, but not in parameters()."
ASSIGNED = "assign=True, or a new nn.Parameter; an optimizer that was made before goes on with the old one."
DATA = "`.data = ...` leaves behind whatever shares memory with it, a tied layer for instance; copy_."
BY_NAME = "a tensor of another name; the order in the file is free, so take them by name."
FITS = "this file fits; testzip() returns None if all is well, and the order of the names is free."
PATH = "load_state_dict takes what torch.load(path) returns, not the path."
OTHER_ERRORS = {  # what comes instead of a ValueError
    "BadZipFile": "zipfile.BadZipFile is no ValueError; catch it: raise ValueError(...) from error.",
    "RuntimeError": "RuntimeError, of torch.load or load_state_dict, is no ValueError; catch it, or look before.",
    "UnpicklingError": "pickle.UnpicklingError is no ValueError; catch it: raise ValueError(...) from error.",
    "EOFError": "torch.load says so of an empty file; ask zipfile first, and catch what it raises.",
    "AssertionError": "an assert raises an AssertionError, and none at all under python -O; raise ValueError(...).",
    "KeyError": "a name is missing; compare the names first.",
    "AttributeError": "not everything in the file is a tensor; catch what torch.load raises.",
}

MISTAKES = (
    Mistake(COPIED_BEFORE, loads_at_once),
    Mistake(NOT_STRICT, loading(fits=same_shapes_in_both, fill=not_strict)),
    Mistake(OTHER_WAY_ROUND, loading(fits=none_missing, fill=not_strict)),
    Mistake(COUNTED, loading(fits=same_number, fill=fills_what_is_in_both)),
    Mistake(REPEATED, loading(fits=same_shapes_or_one_number, fill=fills_what_is_in_both)),
    Mistake(ALL_TENSORS, loading(fits=only_of("fc"), fill=fills_reshaped)),
    Mistake(COPIED_BEFORE, loading(fits=only_of("weight"))),
    Mistake(ONLY_SIZES, loading(fits=squeezed, fill=fills_reshaped)),
    Mistake(PREFIX, loading(read=read_without_module)),
    Mistake(FLOAT, loading(after=lambda model: model.float())),
    Mistake(NO_GRADIENTS, loading(after=zeroes)),
    Mistake(DELETED, deletes_the_file),
    Mistake(COPIED_BEFORE, undoes_with_shared_memory),
    Mistake(ONLY_SIZES, loading(fits=same_sizes, fill=fills_reshaped)),
    Mistake(FITS, loading(fits=same_order)),
    Mistake(BY_NAME, loading(fill=fills_by_position)),
    Mistake(NO_CHECKSUM, loading(read=read_unchecked)),
    Mistake(NO_CHECKSUM, loading(read=waits_for_an_error)),
    Mistake(RUN, loading(read=reads_anything)),
    Mistake(OTHER_ERRORS["BadZipFile"], loading(read=lets_errors_of_zipfile_through)),
    Mistake(OTHER_ERRORS["RuntimeError"], loading(read=reads_first)),
    Mistake(OTHER_ERRORS["UnpicklingError"], loading(read=lets_errors_of_torch_through)),
    Mistake(OTHER_ERRORS["AssertionError"], asserts),
    Mistake(NOT_TOLD, only_prints),
    Mistake(ASSIGNED, loading(fill=assigns)),
    Mistake(DATA, loading(fill=sets_data)),
    Mistake(BUFFERS, loading(fill=fills_parameters_only)),
    Mistake(NOT_FILLED, loading(fill=fills_a_copy)),
    Mistake(COPY_RETURNED, lambda path, model: right(path, copy.deepcopy(model))),
    Mistake("returns None", loading(after=lambda model: None)),
    Mistake(REPORT, lambda path, model: model.load_state_dict(read_checked(path))),
    Mistake("the model itself should be returned, not a", lambda path, model: read_checked(path)),
    Mistake("the model is in eval mode now", loading(after=lambda model: model.eval())),
    Mistake("requires_grad of 'conv.weight' is True now", loading(after=lambda model: model.requires_grad_(True))),
    Mistake(PATH, lambda path, model: model.load_state_dict(path)),
)

CRASHES = [
    ("File is not a zip file", "this one is a good file; open it by ZipFile(path)."),
    ("The size of tensor", BY_NAME),
    ("ValueError", FITS),
    ("a leaf Variable that requires grad", "a parameter is changed in place under torch.no_grad()."),
    ("Expected state_dict to be dict-like", PATH),
    ("unexpected keyword argument", "model.load_state_dict and torch.load have other options."),
]


def verify(answer: Any) -> None:
    """`load_whole(path, model) -> the same model`."""
    saved = dict(Small(83).state_dict())
    with tempfile.TemporaryDirectory() as made:
        path, ran = Path(made) / "last.pt", Path(made) / "ran"
        for name, state in {
            "for a file that fits": saved,
            "for a file with its names in another order": dict(reversed(saved.items())),
        }.items():
            torch.save(state, path)
            with case(name):
                expect_loaded(answer, path, saved)
        with case("for a model of another type than the file"):
            expect_type_kept(answer, path, saved)
        for name, (state, cause) in bad_states(saved).items():
            torch.save(state, path)
            with case(name):
                expect_refused(answer, path, cause)
        torch.save(saved, path)
        for name, (data, cause) in damaged_files(path.read_bytes(), saved).items():
            path.write_bytes(data)
            with case(name):
                expect_refused(answer, path, cause)
        torch.save({**saved, "fc.bias": RunsSomething(ran)}, path)
        with case("for a file that runs a program when it is unpickled"):
            refused = outcome(answer, path, Small(80))
            if ran.exists():
                raise NotYet(f"the program was run.{because(RUN)}")
            expect_value_error(refused, REFUSED_ANYWAY)


def bad_states(saved: State) -> dict[str, tuple[State, str]]:
    """Dictionaries that do not fit, and the likely cause if they are loaded all the same."""
    without_variance = {name: tensor for name, tensor in saved.items() if name != "norm.running_var"}
    without_bias = {name: tensor for name, tensor in saved.items() if name != "fc.bias"}
    other = torch.full((9,), 0.5)
    turned = saved["fc.weight"].T.contiguous()
    return {
        "for a file without 'norm.running_var'": (without_variance, NOT_STRICT),
        "for a file with 'extra.weight', too": ({**saved, "extra.weight": other}, OTHER_WAY_ROUND),
        "for a file with 'fc.offset' in place of 'fc.bias'": (
            {**without_bias, "fc.offset": saved["fc.bias"]},
            COUNTED,
        ),
        "for a file with 'module.' in front of each name": (
            {f"module.{name}": tensor for name, tensor in saved.items()},
            PREFIX,
        ),
        "for a file whose 'fc.bias' is (9,), not (7,)": ({**saved, "fc.bias": other}, ONLY_NAMES),
        "for a file whose 'fc.bias' is (1,), not (7,)": ({**saved, "fc.bias": other[:1]}, REPEATED),
        "for a file whose 'fc.weight' is (6, 7), not (7, 6)": ({**saved, "fc.weight": turned}, ONLY_SIZES),
        **{
            f"for a file whose {name!r} is {shape}, not {tuple(saved[name].shape)}": (
                {**saved, name: saved[name].reshape(shape)},
                cause,
            )
            for name, shape, cause in (
                ("conv.weight", tuple(saved["conv.weight"].shape[::-1]), ALL_TENSORS),
                ("norm.running_mean", (1, *saved["norm.running_mean"].shape), ONLY_SIZES),
                ("fc.bias", (*saved["fc.bias"].shape, 1), ONLY_SIZES),
            )
        },
    }


def damaged_files(whole: bytes, saved: State) -> dict[str, tuple[bytes, str]]:
    """What can become of a file, and the likely cause if it is loaded all the same."""
    flipped = with_a_wrong_bit(whole, saved["conv.weight"])
    return {
        "for a file with one wrong bit in 'conv.weight'": (flipped, NO_CHECKSUM),
        "for a file of which only the first half is there": (whole[: len(whole) // 2], CUT_SHORT),
        "for an empty file": (b"", CUT_SHORT),
    }


def expect_loaded(answer: Any, path: Path, saved: State) -> None:
    call(answer, path, Small(80), crashes=CRASHES, may_change=[1])
    if not path.exists():
        raise NotYet(f"the file is gone afterwards.{because(DELETED)}")
    model, before = Small(80), Small(80)
    held = places(model)
    got = call(lambda path: answer(path, model), path, crashes=CRASHES)
    if got is not model:
        cause = None
        if isinstance(got, nn.Module):
            cause = COPY_RETURNED
        elif not isinstance(got, dict):
            cause = REPORT
        raise NotYet(f"the model itself should be returned, not a {type(got).__name__}.{because(cause)}")
    expect_numbers(model, saved, "in the file", why_not_filled(model, saved))
    expect_same_objects(model, before, held)


def expect_type_kept(answer: Any, path: Path, saved: State) -> None:
    model = Small(80).double()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    call(lambda path: (answer(path, model),), path, crashes=CRASHES)
    if any(tensor.dtype != torch.float64 for tensor in model.state_dict().values() if tensor.is_floating_point()):
        raise NotYet(f"its tensors are not float64 any more.{because(FLOAT)}")
    expect_numbers(
        model, {name: tensor.to(model.state_dict()[name].dtype) for name, tensor in saved.items()}, "in the file", None
    )
    if any(parameter.grad is None or not parameter.grad.all() for parameter in model.parameters()):
        raise NotYet(f"the gradients of the model are gone.{because(NO_GRADIENTS)}")


def why_not_filled(model: nn.Module, saved: State) -> str | None:
    left = left_as_they_were(model)
    if left == list(saved):
        return NOT_FILLED
    if left and not any(name in dict(model.named_parameters()) for name in left):
        return BUFFERS
    return None


def left_as_they_were(model: nn.Module) -> list[str]:
    now = model.state_dict()
    return [name for name, tensor in Small(80).state_dict().items() if torch.equal(now[name], tensor)]


def expect_numbers(model: nn.Module, wanted: State, where: str, cause: str | None) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.shape != wanted[name].shape or not torch.equal(tensor, wanted[name]):
            raise NotYet(f"{name!r} has other numbers afterwards than {where}.{because(cause)}")


def places(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Which objects hold the numbers, and where these are in memory."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: (id(tensor), tensor.data_ptr()) for name, tensor in tensors}


def expect_same_objects(model: nn.Module, before: nn.Module, held: dict[str, tuple[int, int]]) -> None:
    for name, (thing, memory) in places(model).items():
        if thing != held[name][0]:
            raise NotYet(f"{name!r} is another tensor afterwards; its numbers should change.{because(ASSIGNED)}")
        if memory != held[name][1]:
            raise NotYet(f"{name!r} has its numbers in other memory afterwards.{because(DATA)}")
    for (name, now), then in zip(model.named_parameters(), before.parameters(), strict=True):
        if now.requires_grad != then.requires_grad:
            raise NotYet(f"requires_grad of {name!r} is {now.requires_grad} now; leave it as it is.")
    for (name, layer), old in zip(model.named_modules(), before.modules(), strict=True):
        if layer.training != old.training:
            what = f"{name!r}" if name else "the model"
            mode = "train" if layer.training else "eval"
            raise NotYet(f"{what} is in {mode} mode now; loading leaves train and eval mode as they are.")


def expect_refused(answer: Any, path: Path, cause: str) -> None:
    model, before = Small(80), Small(80)
    held = places(model)
    refused = outcome(answer, path, model)
    if isinstance(refused, Exception):
        with case("which is refused"):
            expect_numbers(model, before.state_dict(), "before", COPIED_BEFORE)
            expect_same_objects(model, before, held)
    elif left_as_they_were(model) == list(before.state_dict()):
        cause = NOT_TOLD
    expect_value_error(refused, cause)


def outcome(answer: Any, path: Path, model: nn.Module) -> Any:
    """What the answer returns or raises."""
    try:
        return answer(path, model)
    except (Exception, SystemExit) as error:
        return error


def expect_value_error(got: Any, cause: str) -> None:
    if isinstance(got, ValueError):
        return
    if isinstance(got, BaseException):
        kind = type(got).__name__
        text = str(got).strip()
        said = f"{kind}: {text.splitlines()[0][:100]}" if text else kind
        raise NotYet(f"a ValueError is wanted, not {said}{because(OTHER_ERRORS.get(kind))}")
    found = "returns None" if got is None else f"returns a {type(got).__name__}"
    raise NotYet(f"a ValueError is wanted, but your function {found}.{because(cause)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Look at everything before the model is touched: zipfile.ZipFile(path).testzip() is None if all checksums "
        "hold, and torch.load(path) reads without loading into the model.",
        "{name: tensor.shape for name, tensor in state.items()} of the file and of model.state_dict() must be "
        "equal; dictionaries compare names in both directions.",
        "try: damaged = zipfile.ZipFile(path).testzip(), state = torch.load(path); except (zipfile.BadZipFile, "
        "RuntimeError, pickle.UnpicklingError) as error: raise ValueError from error. Then if damaged or the "
        "shapes differ: raise ValueError. At last model.load_state_dict(state); return model.",
    ),
    praise="the model has all of the file, or nothing of it.",
)
