"""The same numbers in another shape or order, in one tensor or in several."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor, nn

from ...errors import StateDictError
from ...text import few
from ..converting import QKV_NAMES, fuse_qkv, inflate_conv, split_qkv
from ..places import blocks_of, module_name
from .situation import Situation

IN_PROJ = r"(.*?)\.?in_proj_(weight|bias)"
QKV = r"(.*?)\.?(?:qkv|in_proj|qkv_proj|Wqkv)\.(weight|bias)"


def attention(situation: Situation) -> None:
    """Query, key and value together on one side, apart on the other, or together under another name."""
    in_checkpoint, in_model = _has_qkv(situation.tensors), _has_qkv(situation.in_model)
    fused_in_checkpoint, fused_in_model = _fused(situation.tensors), _fused(situation.in_model)
    apart = [key for key in situation.tensors if key.endswith("q_bias") and key not in situation.in_model]
    try:
        if apart and fused_in_checkpoint and fused_in_model:
            situation.convert(
                f"Queries and values have a bias of their own in the checkpoint ({few(apart, 2)}), keys have none: in "
                "the model they lie in one, qkv.bias, that of keys is zero.",
                "fuse_qkv",
                fuse_qkv(situation.tensors, "qkv"),
                ", 'qkv'",
            )
            return
        if in_checkpoint and fused_in_model and not in_model:
            situation.convert(
                "Query, key and value are three layers in the checkpoint, one (q, k, v in this order) in the model.",
                "fuse_qkv",
                fuse_qkv(situation.tensors, fused_in_model),
                f", {fused_in_model!r}",
            )
        elif in_model and fused_in_checkpoint and not in_checkpoint:
            situation.convert(
                "Query, key and value are one layer (q, k, v in this order) in the checkpoint, three in the model.",
                "split_qkv",
                split_qkv(situation.tensors, in_model),
                f", {in_model!r}",
            )
        elif fused_in_checkpoint and fused_in_model and fused_in_checkpoint != fused_in_model:
            tensors = fuse_qkv(split_qkv(situation.tensors), fused_in_model)
            situation.apply(
                "Query, key and value are one layer on both sides, under another name.",
                "from helpers.state_dict import fuse_qkv, split_qkv\n\n"
                f"state_dict = fuse_qkv(split_qkv(state_dict), {fused_in_model!r})",
                tensors,
            )
    except StateDictError as error:
        situation.give_up(f"Query, key and value are put together in another way on the two sides: {error}.")


def _fused(tensors: Mapping[str, Tensor]) -> str | None:
    """How query, key and value are put together, as `fuse_qkv` calls it; None if they are not."""
    if any(re.fullmatch(IN_PROJ, key) for key in tensors):
        return "in_proj"
    if any(re.fullmatch(QKV, key) for key in tensors):
        return "qkv"
    return None


def _has_qkv(tensors: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    """The names of query, key and value, if all three are layers in the same place."""
    for names in QKV_NAMES:
        for key in tensors:
            if key.endswith(f"{names[0]}.weight") and key.split(".")[-2] == names[0]:
                parent = key.removesuffix(f"{names[0]}.weight")
                if all(f"{parent}{name}.weight" in tensors for name in names[1:]):
                    return names
    return None


def orders(situation: Situation) -> None:
    """Kernels as (height, width, in, out), and Linears as (in, out)."""
    mismatched = situation.mismatched()
    kernels = [key for key, (found, wanted) in mismatched.items() if len(found) == 4 and _oihw(found) == wanted]
    turned = [key for key, (found, wanted) in mismatched.items() if len(found) == 2 and found[::-1] == wanted]
    if kernels and not _fit_only_as_they_are(situation):
        _move_kernels(situation, turned)
    elif turned:
        _turn_linears(situation, turned)


def _move_kernels(situation: Situation, turned: list[str]) -> None:
    cause = (
        "Kernels are in the order (height, width, in, out), as in TensorFlow and MatConvNet. Equal sizes hide it in "
        "other layers, so all of them must be moved."
    )
    if turned:
        cause += (
            " So must Linears, and the first one behind a flatten may count pixels before channels: compare outputs."
        )
    elif any(key in situation.tensors for key in _linears(situation)):
        cause += " Square Linears may have to be transposed as well, which shapes cannot show: compare outputs."
    moved = "v.permute(3, 2, 0, 1) if v.ndim == 4 else " + ("v.T if v.ndim == 2 else v" if turned else "v")
    tensors = {key: _moved(tensor, bool(turned)) for key, tensor in situation.tensors.items()}
    situation.apply(cause, f"state_dict = {{k: {moved} for k, v in state_dict.items()}}", tensors)


def _fit_only_as_they_are(situation: Situation) -> bool:
    """Whether kernels fit that would not, if all of them were moved."""
    for key, tensor in situation.tensors.items():
        wanted = situation.in_model.get(key)
        fits = wanted is not None and tensor.ndim == 4 and tensor.shape == wanted.shape
        if fits and _oihw(tuple(tensor.shape)) != tuple(tensor.shape):
            return True
    return False


def _turn_linears(situation: Situation, turned: list[str]) -> None:
    linears = _linears(situation)
    biases = [f"{module_name(key)}.bias" for key in turned]
    if not all(key in linears for key in turned) or any(key in situation.mismatched() for key in biases):
        return  # what gives another number of outputs is another layer
    if len(turned) == 1 and biases[0] not in situation.tensors:
        return
    there = [key for key in linears if key in situation.tensors]
    as_they_are = [key for key in there if key not in turned and len(set(situation.tensors[key].shape)) == 2]
    more = ""
    if as_they_are:  # all that shares a block with one that is turned is, too
        there = [key for key in there if key in turned or _places(key) & {p for one in turned for p in _places(one)}]
        if any(key in there for key in as_they_are):
            return
        more = f" {few(as_they_are)} fit as they are, and stay so."
    situation.apply(
        f"The weights of Linears are (in, out), as in TensorFlow, Flax and GPT-2: {few(there)}. Square ones hide it, "
        f"so all of them must be transposed.{more}",
        f"state_dict = {{k: v.T if k in {there!r} else v for k, v in state_dict.items()}}",
        {key: tensor.T if key in there else tensor for key, tensor in situation.tensors.items()},
    )


def _linears(situation: Situation) -> list[str]:
    """The weights of all Linears in the model."""
    return [key for key in situation.in_model if _module_of(situation.model, key, nn.Linear) and key.endswith("weight")]


def _places(key: str) -> set[str]:
    """The blocks, or the part of the network, that a layer stands in."""
    blocks = {place for place, _, _ in blocks_of(key)}
    return blocks or {module_name(module_name(key))}


def _moved(tensor: Tensor, matrices: bool) -> Tensor:
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T if matrices and tensor.ndim == 2 else tensor


def _oihw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[3], shape[2], shape[0], shape[1]


PIXELS = " Whether pixels or channels come first in a row, shapes do not show: compare outputs."


def forms(situation: Situation) -> None:
    """The same numbers in another shape: Linear and conv, one number and none, dimensions of one."""
    keys, with_convs, in_patches = [], False, False
    for key, (found, wanted) in situation.mismatched().items():
        only_ones = [size for size in found if size != 1] == [size for size in wanted if size != 1]
        only_ones = only_ones and len(found) != len(wanted)  # a kernel that lies is none that stands
        dimensions = sorted((len(found), len(wanted)))
        flattened = dimensions in ([2, 3], [2, 4], [2, 5]) and found[0] == wanted[0]
        flattened = flattened and math.prod(found) == math.prod(wanted)
        if only_ones or flattened:
            keys.append(key)
            with_convs = with_convs or flattened
            in_patches = in_patches or (flattened and not only_ones and wanted[1] > 1)
    if not keys:
        return
    shown = []
    for key in keys:
        there, here = _shape(situation.tensors[key]), _shape(situation.in_model[key])
        shown.append(f"{key} {there} in the checkpoint, {here} here")
    what = "The same numbers have another shape"
    if with_convs:
        what = "Fully connected layers are convs on one side and Linear on the other"
    situation.apply(
        f"{what}: {few(shown, 2)}.{PIXELS if in_patches else ''}",
        f"state_dict = dict(state_dict)\nfor key in {tuple(keys)!r}:\n"
        "    state_dict[key] = state_dict[key].reshape(model.state_dict()[key].shape)",
        {
            key: tensor.reshape(situation.in_model[key].shape) if key in keys else tensor
            for key, tensor in situation.tensors.items()
        },
    )


def inflation(situation: Situation) -> None:
    """2D kernels for 3D convs."""
    keys = [
        key
        for key, (found, wanted) in situation.mismatched().items()
        if len(found) == 4 and len(wanted) == 5 and found == wanted[:2] + wanted[3:]
    ]
    if not keys:
        return
    situation.apply(
        f"The checkpoint is of a network in 2D, the model in 3D: {few(keys)}. Repeated over the frames and divided by "
        "their number, kernels give for a still film what they gave for its picture.",
        "from helpers.state_dict import inflate_conv\n\nstate_dict = dict(state_dict)\n"
        f"for key in {tuple(keys)!r}:\n"
        "    state_dict[key] = inflate_conv(state_dict[key], model.state_dict()[key].shape[2])",
        {
            key: inflate_conv(tensor, situation.in_model[key].shape[2]) if key in keys else tensor
            for key, tensor in situation.tensors.items()
        },
    )


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _module_of(model: nn.Module, key: str, kind: type[nn.Module]) -> bool:
    try:
        return isinstance(model.get_submodule(key.rpartition(".")[0]), kind)
    except AttributeError:
        return False
