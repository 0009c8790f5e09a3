"""A MatConvNet network's weights under the names of an existing PyTorch model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from ..errors import MatConvNetError
from ..layers import why_not_plain
from .fields import DEFAULTS
from .layer import Layer


def match_parameters(layers: list[Layer], model: nn.Module, leave_out: Collection[str]) -> OrderedDict[str, Tensor]:
    """See `Network.state_dict_for`."""
    if not isinstance(model, nn.Module):
        raise MatConvNetError(f"weights are renamed for a torch.nn.Module, not for a {type(model).__name__}")
    if (
        isinstance(leave_out, str)
        or not isinstance(leave_out, Collection)
        or not all(isinstance(name, str) for name in leave_out)
    ):
        raise MatConvNetError(f"leave_out is a list of names, not {leave_out!r:.60}")
    sources = [layer for layer in layers if layer.params]
    unknown = set(leave_out) - {layer.name for layer in sources}
    if unknown:
        raise MatConvNetError(f"no layers with weights to leave out are called {', '.join(sorted(unknown))}")
    targets = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, _BatchNorm))
    ]
    if len(sources) != len(targets):
        raise MatConvNetError(
            f"the file has {len(sources)} layers with weights ({_ends([layer.name for layer in sources])}), "
            f"the model has {len(targets)} ({_ends([name for name, _ in targets])}): "
            "copy layer by layer, from `network[name].params`"
        )
    matched: OrderedDict[str, Tensor] = OrderedDict()
    for layer, (name, module) in zip(sources, targets, strict=True):
        if layer.name in leave_out:
            continue
        for key, tensor in _fit(layer, name, module).items():
            matched[f"{name}.{key}"] = tensor
    return matched


FITTING: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": (nn.Conv2d, nn.Linear),
    "convt": (nn.ConvTranspose2d,),
    "bnorm": (_BatchNorm,),
}


def _fit(layer: Layer, name: str, module: nn.Module) -> dict[str, Tensor]:
    if not isinstance(module, FITTING.get(layer.type, ())):
        raise MatConvNetError(
            f"layer {layer.name!r} is a {layer.type}, and {name!r} a {type(module).__name__}: even where shapes agree, "
            "they compute something else"
        )
    if parametrize.is_parametrized(module):
        raise MatConvNetError(f"{why_not_plain(None, module, name)}")
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
        raise MatConvNetError(f"{name!r} has no shapes yet: run the model once, then fill it")
    params = dict(layer.params)
    if isinstance(module, nn.Linear) and layer.type == "conv":
        params["weight"] = params["weight"].flatten(1)  # as `conv_to_linear`, without a copy
    if isinstance(module, _BatchNorm) and "running_var" in params:
        # sigma^2 = variance + epsilon must stay what it was, whatever epsilon the model adds
        params["running_var"] = params["running_var"] + layer.options.get("epsilon", DEFAULTS["bnorm"]["epsilon"])
        params["running_var"] -= module.eps
        if not params["running_var"].is_meta and (params["running_var"] < -module.eps / 2).any():
            raise MatConvNetError(
                f"layer {layer.name!r} has variances far below {module.eps:g}, the eps of {name!r}, which would "
                "swallow them: make that module with a smaller eps"
            )
    expected = {key: t.shape for key, t in module.state_dict().items() if key != "num_batches_tracked"}
    if expected != {key: t.shape for key, t in params.items()}:
        raise MatConvNetError(
            f"layer {layer.name!r} ({_shapes(params)}) does not fit {name!r}, "
            f"a {type(module).__name__} ({_shapes(module.state_dict())}): take a model of the same widths, or "
            f"state_dict_for(model, leave_out=[{layer.name!r}]) and load that with strict=False"
        )
    return params


def _shapes(tensors: dict[str, Tensor]) -> str:
    return ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in tensors.items()) or "no parameters"


def _ends(names: list[str]) -> str:
    return " ... ".join([names[0], names[-1]]) if len(names) > 1 else "".join(names) or "none"
