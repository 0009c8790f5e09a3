"""Weights that are made from other numbers: by a scale, by weight_norm and its like, by an adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...errors import StateDictError
from ...text import few
from ..converting import FOLDS, dequantize, find_scale, fold_parametrizations, split_weight_norm
from ..fitting import fits
from ..kinds import is_scaled, why_no_plain_numbers
from .situation import Situation, are

INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
PACKED = (".qweight", ".qzeros", ".quant_map", ".absmax")


OLDER_AND_NEWER = (
    ("_g", "original0"),
    ("_v", "original1"),
    ("_orig", "original"),
    ("_u", "0._u"),
    ("_v", "0._v"),
)


def plain_numbers(situation: Situation) -> None:
    """Tensors that hold their numbers elsewhere, or stand for others by a scale."""
    tensors = situation.tensors
    packed = [key for key in tensors if key.endswith(PACKED) and key not in situation.in_model]
    if packed:
        situation.give_up(
            f"{few(packed, 2)}: several weights lie packed in one integer, as GPTQ, AWQ and 4 bits have it; read them "
            "with the library that wrote them."
        )
        return
    for key, tensor in tensors.items():
        why = why_no_plain_numbers(tensor)
        if why and not (tensor.is_quantized or tensor.layout != torch.strided):
            situation.give_up(f"{key} {why}.")
            return
    odd = [key for key, tensor in tensors.items() if why_no_plain_numbers(tensor)]
    scaled = []
    for key, tensor in tensors.items():
        wanted = situation.in_model.get(key)
        if is_scaled(tensor) and find_scale(key, tensors) and (wanted is None or wanted.is_floating_point()):
            scaled.append(key)
    if not odd and not scaled:
        return
    cause = f"{few(odd or scaled)} {are(odd or scaled)} quantized: "
    if scaled:
        kind = str(tensors[scaled[0]].dtype).removeprefix("torch.")
        cause += f"{kind} that stand for weights only with the scale beside them ({find_scale(scaled[0], tensors)})."
    elif any(tensors[key].layout != torch.strided for key in odd):
        cause = f"{few(odd)} {are(odd)} sparse."
    else:
        cause += "torch's own integers with a scale inside."
    try:
        changed = dequantize(tensors)
    except StateDictError as error:
        situation.give_up(f"{cause} {error}.")
        return
    situation.convert(cause, "dequantize", changed)


def parametrizations(situation: Situation) -> None:
    """weight_norm, spectral_norm and pruning in the checkpoint, if the model has plain weights."""
    in_checkpoint = [key for key in situation.tensors if _is_first_of_a_fold(key, situation.tensors)]
    in_model = [key for key in situation.in_model if _is_first_of_a_fold(key, situation.in_model)]
    if in_model and not in_checkpoint:
        _plain_into_parametrized(situation, in_model)
    if not in_checkpoint:
        return
    if in_model:
        _between_forms(situation)
        _over_another_dimension(situation)
        return
    folded = fold_parametrizations(situation.tensors)
    kind = _kind_of_fold(in_checkpoint[0], situation.tensors)
    layers = "1 layer" if len(in_checkpoint) == 1 else f"{len(in_checkpoint)} layers"
    situation.convert(
        f"The checkpoint has {kind} on {layers} ({few(in_checkpoint, 2)}), the model has plain weights.",
        "fold_parametrizations",
        folded,
    )


def _plain_into_parametrized(situation: Situation, in_model: list[str]) -> None:
    kind = _kind_of_fold(in_model[0], situation.in_model)
    plain = [key for key in map(_plain_name, in_model) if key in situation.tensors]
    if kind == "spectral_norm" and plain:
        situation.give_up(
            f"The model has spectral_norm ({few(in_model, 2)}), the checkpoint has plain weights ({few(plain, 2)}). It "
            "would divide them by a number that its own random vectors give. Build the model without spectral_norm, "
            "load, and put it on afterwards."
        )
    if kind != "weight_norm":
        return
    try:
        tensors = split_weight_norm(situation.tensors, situation.model)
    except StateDictError:
        return
    situation.convert(
        f"The model has weight_norm ({few(in_model, 2)}), the checkpoint has plain weights.",
        "split_weight_norm",
        tensors,
        ", model",
    )


def _between_forms(situation: Situation) -> None:
    """One of PyTorch's two forms of weight_norm or spectral_norm into the other."""
    names = {}
    for key in situation.tensors:
        for new in _other_forms(key):
            if new in situation.in_model and key not in situation.in_model:
                names[key] = new
    if not names:
        return
    tensors = {names.get(key, key): tensor for key, tensor in situation.tensors.items()}
    if fits(situation.in_model, tensors) <= situation.fits():
        return
    kind = _kind_of_fold(next(iter(names)), situation.tensors)
    which = "newer" if any("parametrizations" in new for new in names.values()) else "older"
    situation.apply(
        f"{kind} is kept under other names: the model has PyTorch's {which} form of it.",
        f"names = {names!r}\nstate_dict = {{names.get(key, key): t for key, t in state_dict.items()}}",
        tensors,
    )


def _over_another_dimension(situation: Situation) -> None:
    """weight_norm on both sides, with one length for each row there and for each column here."""
    lengths = [key for key in situation.mismatched() if key.endswith(("_g", "original0"))]
    if not lengths:
        return
    try:
        tensors = split_weight_norm(fold_parametrizations(situation.tensors), situation.model)
    except StateDictError:
        return
    situation.apply(
        f"weight_norm keeps the lengths of another dimension: {few(lengths, 2)}.",
        "from helpers.state_dict import fold_parametrizations, split_weight_norm\n\n"
        "state_dict = split_weight_norm(fold_parametrizations(state_dict), model)",
        tensors,
    )


def _plain_name(key: str) -> str:
    """The name of the weight that a parametrization stands for."""
    found = re.fullmatch(r"((?:.*\.)?)parametrizations\.([^.]+)\.original\d?", key)
    return f"{found[1]}{found[2]}" if found else re.sub(r"_(g|orig)$", "", key)


def _other_forms(key: str) -> list[str]:
    found = []
    for older, newer in OLDER_AND_NEWER:
        if old := re.fullmatch(rf"((?:.*\.)?)([^.]+){older}", key):
            found.append(f"{old[1]}parametrizations.{old[2]}.{newer}")
        if new := re.fullmatch(rf"((?:.*\.)?)parametrizations\.([^.]+)\.{re.escape(newer)}", key):
            found.append(f"{new[1]}{new[2]}{older}")
    return found


def _is_first_of_a_fold(key: str, tensors: Mapping[str, Tensor]) -> bool:
    for pattern, others, _ in FOLDS:
        found = re.fullmatch(pattern, key)
        if found and all(other.format(**found.groupdict()) in tensors for other in others):
            return True
    return False


def _kind_of_fold(key: str, tensors: Mapping[str, Tensor]) -> str:
    if key.endswith(("_g", "_v", "original0", "original1")):
        return "weight_norm"
    module = key.removesuffix("_orig")
    return "pruning" if f"{module}_mask" in tensors else "spectral_norm"


def adapters(situation: Situation) -> None:
    """LoRA: what must be added to weights, and by what factor only the adapter's configuration says."""
    found = [key for key in situation.tensors if re.search(r"\blora_(A|B|down|up)\b", key)]
    if not found or any(key in situation.in_model for key in found):
        return
    others = [key for key in situation.tensors if key not in found]
    where = "beside the weights" if others else "alone: the weights that it changes are not in this file"
    situation.give_up(
        f"It holds a LoRA adapter ({few(found, 2)}) {where}. Load the weights, then merge_lora(weights, adapter, "
        "scale=alpha / rank); alpha stands in the adapter's configuration, not among the tensors."
    )


def statistics(situation: Situation) -> None:
    """Running statistics of InstanceNorm, which old versions of PyTorch saved and did not use."""
    norms = {key.rpartition(".")[0] for key in situation.tensors if key.endswith("running_mean")}
    instances = [module for module in situation.model.modules() if isinstance(module, INSTANCE_NORMS)]
    if not norms or not instances or any(key.endswith("running_mean") for key in situation.in_model):
        return
    if any(f"{norm}.weight" in situation.tensors and f"{norm}.weight" not in situation.in_model for norm in norms):
        return
    leaves = ("running_mean", "running_var", "num_batches_tracked")
    situation.apply(
        f"Running statistics lie in the checkpoint ({few(sorted(norms))}); the InstanceNorms of the model keep none, "
        "and those of old versions did not use them.",
        f"state_dict = {{key: t for key, t in state_dict.items() if not key.endswith({leaves!r})}}",
        {key: tensor for key, tensor in situation.tensors.items() if not key.endswith(leaves)},
    )
