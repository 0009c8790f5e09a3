"""A checkpoint in the form that a model wants: the same numbers under other names, in other shapes, or put together.

All take a state_dict and give another one; what they do not concern is in it as it was, in its place.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import StateDictError
from ..text import few
from .arguments import check_model, check_tensors
from .kinds import FLOAT8, is_scaled, why_no_plain_numbers
from .reading import StateDict

QKV = ("q_proj", "k_proj", "v_proj")
QKV_NAMES = (
    QKV,
    ("query", "key", "value"),
    ("q", "k", "v"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
    ("q_lin", "k_lin", "v_lin"),
    ("query_proj", "key_proj", "value_proj"),
    ("linear_q", "linear_k", "linear_v"),
)
FUSED = {"in_proj": "in_proj_{leaf}", "qkv": "qkv.{leaf}"}
SCALES = (
    "{key}_scale",
    "{key}_scale_inv",
    "{module}.scale",
    "{module}.scales",
    "{module}.SCB",
    "{module}.weight_scale",
)


def fuse_qkv(state_dict: Mapping[str, Tensor], into: str = "in_proj") -> dict[str, Tensor]:
    """Put the query's, the key's and the value's projection of each attention into one, in this order.

    Args:
        state_dict: with triples of names such as `X.q_proj.weight`, `X.k_proj.weight`, `X.v_proj.weight`; see
            `QKV_NAMES`. Each is (out, in), and a bias (out,). A bias that only some of the three have is zero in the
            others. Biases apart beside one weight (`X.q_bias`, `X.v_bias` and `X.qkv.weight`, as in BEiT) become one.
        into: "in_proj" for `X.in_proj_weight`, as nn.MultiheadAttention has it, or "qkv" for `X.qkv.weight`, as timm.

    Raises:
        StateDictError: there are no such triples, one of the three is missing, or their inputs differ.
    """
    check_tensors(state_dict)
    if into not in FUSED:
        raise StateDictError(f"into is one of {', '.join(FUSED)}, not {into!r}")
    result: dict[str, Tensor] = {}
    found = {key: triple for key in state_dict if (triple := _triple(key, state_dict)) is not None}
    biases = _biases_apart(state_dict)
    if not found and not biases:
        raise StateDictError("no attention with separate query, key and value in it: see QKV_NAMES for the names")
    for key, tensor in state_dict.items():
        if key in biases:
            result |= biases[key]
        elif key not in found:
            result[key] = tensor
        if key not in found:
            continue
        parent, names = found[key]
        leaf = key.rpartition(".")[2]
        new = _join(parent, FUSED[into].format(leaf=leaf))
        if new not in result:
            result[new] = torch.cat(_three(state_dict, parent, names, leaf))
    return result


def _biases_apart(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Biases of queries, keys and values beside one weight for all three -> what stands in their place."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, weight in state_dict.items():
        names = [f"{key.removesuffix('qkv.weight')}{one}_bias" for one in "qkv"]
        there = [name for name in names if name in state_dict]
        if key.endswith("qkv.weight") and there and weight.ndim == 2 and len(weight) % 3 == 0:
            nothing = weight.new_zeros(len(weight) // 3)
            found[there[0]] = {
                f"{key.removesuffix('.weight')}.bias": torch.cat([state_dict.get(name, nothing) for name in names])
            }
            found |= {name: {} for name in there[1:]}
    return found


def split_qkv(state_dict: Mapping[str, Tensor], names: Sequence[str] = QKV) -> dict[str, Tensor]:
    """The opposite of `fuse_qkv`: thirds of `X.in_proj_weight` or `X.qkv.weight` under three names, and of biases.

    Raises:
        StateDictError: there is nothing fused, or it has no three equal parts (grouped queries).
    """
    check_tensors(state_dict)
    result: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        found = re.fullmatch(r"(.*?)\.?(?:in_proj_|(?:in_proj|qkv|qkv_proj|Wqkv)\.)(weight|bias)", key)
        if not found:
            result[key] = tensor
            continue
        if tensor.ndim == 0 or len(tensor) % 3:
            raise StateDictError(f"{key!r} is {tuple(tensor.shape)}, which are no three equal parts: cut it yourself")
        for name, part in zip(names, tensor.chunk(3), strict=True):
            result[_join(found[1], f"{name}.{found[2]}")] = part
    if result.keys() == state_dict.keys():
        raise StateDictError("no fused query, key and value in it: names end in in_proj_weight or qkv.weight")
    return result


def _triple(key: str, state_dict: Mapping[str, Tensor]) -> tuple[str, tuple[str, str, str]] | None:
    """(the attention, the names of its three), if the key is of one of the three and all have a weight."""
    module, _, leaf = key.rpartition(".")
    parent, _, name = module.rpartition(".")
    for names in QKV_NAMES:
        if name in names and leaf in ("weight", "bias"):
            weights = [state_dict.get(_join(parent, f"{one}.weight")) for one in names]
            if all(weight is not None and weight.ndim == 2 for weight in weights):
                return parent, names
    return None


def _three(state_dict: Mapping[str, Tensor], parent: str, names: Sequence[str], leaf: str) -> list[Tensor]:
    weights = [state_dict[_join(parent, f"{name}.weight")] for name in names]
    if len({weight.shape[1] for weight in weights}) > 1:
        shapes = ", ".join(f"{name} {tuple(weight.shape)}" for name, weight in zip(names, weights, strict=True))
        raise StateDictError(f"the projections of {parent!r} have other inputs ({shapes}): they cannot be one")
    if leaf == "weight":
        return weights
    biases = [state_dict.get(_join(parent, f"{name}.bias")) for name in names]
    return [
        weight.new_zeros(len(weight)) if bias is None else bias for bias, weight in zip(biases, weights, strict=True)
    ]


def fold_parametrizations(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain weights from what weight_norm, spectral_norm and pruning keep instead of them, in older and newer names.

    weight_norm: g · v / ‖v‖, the norm over all dimensions in which g has one number. spectral_norm: W / (uᵀ W v), as
    in eval mode, with W as a matrix whose rows are the dimension that u counts. Pruning: W · mask.

    Raises:
        StateDictError: there is none of these in it.
    """
    check_tensors(state_dict)
    plain: dict[str, tuple[str, Tensor]] = {}
    parts: set[str] = set()
    for key in state_dict:
        for pattern, others, fold in FOLDS:
            found = re.fullmatch(pattern, key)
            names = [other.format(**found.groupdict()) for other in others] if found else []
            if found and key not in parts and all(name in state_dict for name in names):
                plain[key] = found["m"] + found["w"], fold(state_dict[key], *(state_dict[name] for name in names))
                parts.update(names)
    if not plain:
        raise StateDictError("nothing of weight_norm, spectral_norm or pruning in it: all weights are plain")
    result: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        if key in plain:
            name, weight = plain[key]
            result[name] = weight
        elif key not in parts:
            result[key] = tensor
    return result


def _weight_norm(g: Tensor, v: Tensor) -> Tensor:
    dims = [dim for dim in range(v.ndim) if g.ndim == 0 or g.shape[dim] == 1]
    norm = torch.linalg.vector_norm(v.float(), dim=dims, keepdim=True)
    return (g.float() * v.float() / norm).to(v.dtype)


def _spectral_norm(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    sigmas = []
    for dim, size in enumerate(weight.shape):
        if size == len(u) and weight.numel() == len(u) * len(v):
            sigmas.append(u.float() @ weight.movedim(dim, 0).flatten(1).float() @ v.float())
    if not sigmas:
        raise StateDictError(
            f"spectral_norm's u {tuple(u.shape)} and v {tuple(v.shape)} do not belong to {tuple(weight.shape)}"
        )
    return (weight.float() / max(sigmas)).to(weight.dtype)  # of two dimensions of one size, the one they were made for


def _pruned(weight: Tensor, mask: Tensor) -> Tensor:
    return weight * mask.to(weight.dtype)


# a regular expression for the first part, the names of the others, and what makes a plain weight of them
NAME = r"(?P<m>(?:.*\.)?)(?P<w>[^.]+)"
NEWER = r"(?P<m>(?:.*\.)?)parametrizations\.(?P<w>[^.]+)\."
FOLDS: tuple[tuple[str, tuple[str, ...], Callable[..., Tensor]], ...] = (
    (NAME + "_g", ("{m}{w}_v",), _weight_norm),
    (NEWER + "original0", ("{m}parametrizations.{w}.original1",), _weight_norm),
    (NAME + "_orig", ("{m}{w}_u", "{m}{w}_v"), _spectral_norm),
    (NEWER + "original", ("{m}parametrizations.{w}.0._u", "{m}parametrizations.{w}.0._v"), _spectral_norm),
    (NAME + "_orig", ("{m}{w}_mask",), _pruned),
)


def split_weight_norm(state_dict: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The opposite of `fold_parametrizations` for a model with weight_norm: g = ‖w‖ and v = w, which give w again.

    Raises:
        StateDictError: the model has no weight_norm where the checkpoint has a plain weight.
    """
    check_model(model)
    check_tensors(state_dict)
    in_model = model.state_dict()
    result = dict(state_dict)
    for key in state_dict:
        module, _, leaf = key.rpartition(".")
        newer = _join(module, f"parametrizations.{leaf}.original")
        for g, v in ((f"{key}_g", f"{key}_v"), (f"{newer}0", f"{newer}1")):
            if g in in_model and v in in_model and key not in in_model:
                weight, sizes = result.pop(key), in_model[g].shape
                dims = [dim for dim in range(weight.ndim) if not sizes or sizes[dim] == 1]
                norm = torch.linalg.vector_norm(weight.float(), dim=dims, keepdim=True).to(weight.dtype)
                result[g], result[v] = norm.reshape(sizes), weight
    if result.keys() == state_dict.keys():
        raise StateDictError("the model has no weight_norm where the checkpoint has a plain weight")
    return result


def rename_leaves(state_dict: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Other last parts of names, such as `{"gamma": "weight", "moving_mean": "running_mean"}`.

    Raises:
        StateDictError: two names become one.
    """
    check_tensors(state_dict)
    result: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        module, _, leaf = key.rpartition(".")
        new = _join(module, names.get(leaf, leaf))
        if new in result:
            raise StateDictError(f"two names would become {new!r}, the second of them {key!r}")
        result[new] = tensor
    return result


def add_tied_names(state_dict: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors under all names that the model has for them; some writers keep one name of a tensor that has two."""
    check_model(model)
    check_tensors(state_dict)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    result = dict(state_dict)
    for tied in names.values():
        there = [name for name in tied if name in state_dict]
        for name in tied:
            if there and name not in state_dict:
                result[name] = state_dict[there[0]]
    return result


def inflate_conv(weight: Tensor, depth: int) -> Tensor:
    """The kernels of a 2D conv for a 3D one: the same in each of `depth` frames, divided by their number.

    So a film in which nothing moves gives what its picture gave, away from its first and last frames if those are
    padded (Carreira and Zisserman 2017, https://arxiv.org/abs/1705.07750).

    Args:
        weight: (out, in, height, width).
        depth: frames of the new kernel.

    Returns:
        (out, in, depth, height, width)

    Raises:
        StateDictError: the weight has not four dimensions, or depth is no whole number above 0.
    """
    if not isinstance(weight, Tensor):
        raise StateDictError(f"the kernels of a conv are a tensor, not a {type(weight).__name__}")
    if weight.ndim != 4:
        raise StateDictError(f"a 2D conv has kernels (out, in, height, width), not {tuple(weight.shape)}")
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise StateDictError(f"depth is a whole number of frames above 0, not {depth!r}")
    return weight[:, :, None].repeat(1, 1, depth, 1, 1) / depth


def dequantize(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float32 weights from integers or float8 and the scales beside them, whose names are taken out.

    A scale is one number, one for each row, or one for each block of rows and columns. Its name is one of `SCALES`;
    with `SCB` (bitsandbytes) the weight is int8 · SCB / 127. Tensors that torch quantized, and sparse ones, become
    plain. A zero point beside the scale is taken off first.

    Raises:
        StateDictError: there is nothing to do; a scale is missing or does not fit; weights are packed several in one
            integer (GPTQ, AWQ, 4 bits), which only their own library reads.
    """
    check_tensors(state_dict)
    if packed := [key for key in state_dict if key.endswith((".qweight", ".qzeros", ".quant_map", ".absmax"))]:
        raise StateDictError(
            f"{few(map(repr, packed), 2)}: several weights lie in one integer; read it with the library that wrote it"
        )
    result: dict[str, Tensor] = {}
    used: set[str] = set()
    changed = False
    for key, tensor in state_dict.items():
        if tensor.is_quantized or tensor.layout != torch.strided:
            result[key] = tensor.dequantize() if tensor.is_quantized else tensor.to_dense()
            changed = True
        elif is_scaled(tensor) and (scale := find_scale(key, state_dict)):
            result[key] = _scaled(key, tensor, scale, state_dict, used)
            changed = True
        else:
            result[key] = tensor
    if not changed:
        raise StateDictError("no integers or float8 with a scale beside them: see SCALES for the names")
    return {key: tensor for key, tensor in result.items() if key not in used}


def find_scale(key: str, state_dict: Mapping[str, Tensor]) -> str | None:
    """The name of the scale that belongs to a tensor; None if there is none."""
    module = key.rpartition(".")[0]
    if not key.endswith(".weight") and key != "weight":
        candidates = [f"{key}_scale", f"{key}_scale_inv"]
    else:
        candidates = [name.format(key=key, module=module).removeprefix(".") for name in SCALES]
    return next((name for name in candidates if name in state_dict and name != key), None)


def _scaled(key: str, tensor: Tensor, name: str, state_dict: Mapping[str, Tensor], used: set[str]) -> Tensor:
    scale, numbers = state_dict[name].float(), tensor.float()
    used.add(name)
    zero = next((n for n in (f"{key}_zero_point", name.replace("scale", "zero_point")) if n in state_dict), None)
    if zero and zero != name:
        numbers = numbers - _spread(state_dict[zero].float(), tensor, zero)
        used.add(zero)
    if name.endswith("SCB"):
        scale = scale / 127
    return numbers * _spread(scale, tensor, name)


def _spread(scale: Tensor, tensor: Tensor, name: str) -> Tensor:
    """One number of a scale for each of the tensor's."""
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.numel() == len(tensor):
        return scale.reshape(-1, *[1] * (tensor.ndim - 1))
    if scale.ndim == tensor.ndim == 2:
        for dim, (size, blocks) in enumerate(zip(tensor.shape, scale.shape, strict=True)):
            block = 128 if math.ceil(size / 128) == blocks else size // blocks  # the usual size, or equal parts
            if math.ceil(size / max(block, 1)) != blocks:
                break
            scale = scale.repeat_interleave(block, dim).narrow(dim, 0, size)
        else:
            return scale
    raise StateDictError(f"{name!r} is {tuple(scale.shape)}, which is no scale for a tensor of {tuple(tensor.shape)}")


def merge_lora(state_dict: Mapping[str, Tensor], adapter: Mapping[str, Tensor], *, scale: float) -> StateDict:
    """The weights with a low-rank adapter added: W + scale · B A, computed in float32 (Hu et al. 2021, LoRA).

    Args:
        state_dict: the weights by name, each (out, in).
        adapter: `X.lora_A.weight` (rank, in) and `X.lora_B.weight` (out, rank) for `X.weight`; in front of X may stand
            `base_model.model.`, and the name of the adapter before `weight`.
        scale: alpha / rank; with rank-stabilised LoRA alpha / √rank. The adapter's configuration has alpha.

    Raises:
        StateDictError: a weight or half of a pair is missing, shapes do not fit, or this adapter was merged before.
    """
    check_tensors(state_dict)
    check_tensors(adapter)
    if not isinstance(scale, int | float) or not math.isfinite(scale):
        raise StateDictError(f"scale is alpha / rank, not {scale!r}")
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in adapter.items():
        found = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_(A|B|down|up)(?:\.[^.]+)?\.weight", key)
        if not found:
            raise StateDictError(f"{key!r} is no part of a LoRA adapter: those end in lora_A.weight and lora_B.weight")
        side = {"down": "A", "up": "B"}.get(found[2], found[2])
        pairs.setdefault(found[1], {})[side] = tensor
    mark = f"merged the adapter {_digest(adapter)}"
    notes = getattr(state_dict, "notes", ())
    if mark in notes:
        raise StateDictError("this adapter was merged into these weights before: a second time would double it")
    if not pairs:
        raise StateDictError("the adapter holds nothing")
    result = StateDict(state_dict, getattr(state_dict, "path", None))
    for name, pair in pairs.items():
        result[f"{name}.weight"] = _merged(f"{name}.weight", state_dict, pair, scale)
    result.notes = (*notes, mark)
    return result


def _merged(key: str, state_dict: Mapping[str, Tensor], pair: Mapping[str, Tensor], scale: float) -> Tensor:
    if pair.keys() != {"A", "B"}:
        raise StateDictError(f"of the adapter of {key!r} only one of lora_A and lora_B is there")
    if key not in state_dict:
        raise StateDictError(f"the adapter changes {key!r}, which is not among the weights: {few(state_dict, 2)}")
    weight, a, b = state_dict[key], pair["A"], pair["B"]
    if why := why_no_plain_numbers(weight):
        raise StateDictError(f"{key!r} {why}")
    if not weight.is_floating_point() or weight.dtype in FLOAT8:
        raise StateDictError(f"{key!r} holds {weight.dtype}: dequantize it first")
    if (len(b), *a.shape[1:]) != tuple(weight.shape) or b.shape[1] != len(a):
        raise StateDictError(
            f"{key!r} is {tuple(weight.shape)}, lora_A {tuple(a.shape)} and lora_B {tuple(b.shape)}: they do not fit"
        )
    return (weight.float() + scale * (b.float() @ a.float())).to(weight.dtype)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """A few letters that other tensors would hardly have."""
    found = hashlib.sha256()
    for key in sorted(tensors):
        found.update(key.encode())
        found.update(tensors[key].detach().float().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _join(module: str, leaf: str) -> str:
    return f"{module}.{leaf}" if module else leaf
