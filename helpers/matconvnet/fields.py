"""One layer's MATLAB fields -> `Layer`: weights by what they are, options as plain Python values."""

from __future__ import annotations

import keyword
import math
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from ..errors import MatConvNetError
from .layer import Layer
from .layout import as_it_stands, kernel_tensor, tensor
from .unread import Unread, briefly, is_shape_only

DEFAULTS: dict[str, dict[str, Any]] = {  # what MatConvNet assumes where the file says nothing
    "conv": {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilate": (1, 1)},
    "convt": {"upsample": (1, 1), "crop": (0, 0, 0, 0)},
    "pool": {"stride": (1, 1), "pad": (0, 0, 0, 0)},
    "concat": {"dim": 3},
    "crop": {"offset": (0, 0)},
    "SubP": {},
    "bnorm": {"epsilon": 1e-4},  # what vl_nnbnorm adds; it cancels out where the file has moments
    "lrn": {"param": (5, 1, 0.0001 / 5, 0.75)},
    "normalize": {"param": (5, 1, 0.0001 / 5, 0.75)},
}
CHECKED = {*DEFAULTS, "relu", "dropout"}  # whose options are known
LENGTHS = {"stride": 2, "dilate": 2, "upsample": 2, "pool": 2, "offset": 2, "pad": 4, "crop": 4}
MOST = 65_535  # no window, step or border is larger, and PyTorch does not take any number
COUNTS = {
    "epsilon": 1,
    "leak": 1,
    "rate": 1,
    "param": 4,
    "dim": 1,
    "groups": 1,
    "scale": 1,
}  # options -> how many numbers they are
LARGEST = float(np.finfo(np.float32).max)
RANGES = {
    "epsilon": (0, MOST),
    "rate": (0, 1),
    "param": (1, MOST),
    "dim": (1, 4),
    "groups": (1, MOST),
    "scale": (1 / MOST, MOST),
}  # of their first number
NOT_OPTIONS = {"name", "type", "weights", "filters", "biases", "size"} | {  # nor what only matters in MATLAB
    "precious",
    "momentum",
    "learningRate",
    "weightDecay",
}


HOW_TO_COMPUTE = ("cudnn", "nocudnn", "verbose", "cudnnworkspacelimit")  # all that `opts` usually has
WEIGHTS = ("weights", "filters", "biases")


def read_layer(fields: Any, number: int) -> Layer:
    """The `number`-th layer (counted from 1, for messages) from the fields of its struct, in any order."""
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        found = f"the fields {', '.join(fields)}" if isinstance(fields, dict) else f"a {type(fields).__name__}"
        raise MatConvNetError(f"layer {number} is no struct with a `type` (found {found})")
    kind, name = fields["type"], fields.get("name")
    name = name if isinstance(name, str) else ""
    label = f"layer {number} ({name or 'without a name'}, {kind})"
    fields = {key: value for key, value in fields.items() if not _is_of_training(key)}
    more = _more_weights(fields)
    options = options_of(kind, {key: value for key, value in fields.items() if key not in more}, label)
    arrays = _arrays(fields)
    options |= epsilon_beside(kind, arrays, options)
    if kind == "relu" and options.get("leak", 0) < 0:
        del options["leak"]  # vl_simplenn hands on only one above 0
    params = layer_params(kind, arrays, options, label)
    for key, arrays in more.items():
        params |= {f"{key}_{i}": tensor(array) for i, array in enumerate(arrays, start=1)}
    return Layer(name, kind, params, options)


def options_of(kind: str, fields: dict[str, Any], label: str) -> dict[str, Any]:
    """The options among a layer's fields, those left out as MatConvNet assumes them.

    Raises:
        MatConvNetError: one that is known is no such thing, or out of range.
    """
    options = dict(DEFAULTS.get(kind, {}))
    for key, value in fields.items():
        if key == "opts":
            options |= _opts(value)
        elif key not in NOT_OPTIONS and not is_empty(value):
            key = "groups" if key == "numGroups" else key
            options[key] = _option(key, value, label) if kind in CHECKED else _plain_option(value)
        elif key == "class":  # a loss has it, if only an empty one
            options[key] = None
    _check_window(kind, options, label)
    return options


def _opts(value: Any) -> dict[str, Any]:
    """`opts`, which MatConvNet hands to a function after all others, without those that only say how to compute."""
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text]
    others = [text for text in texts if text.lower() not in HOW_TO_COMPUTE]
    return {"opts": ", ".join(others)} if others else {}


def layer_params(kind: str, arrays: list[Any], options: dict[str, Any], label: str) -> dict[str, Tensor]:
    """The parameters of a layer by what they are.

    Raises:
        MatConvNetError: they are not what a layer of this type has.
    """
    if kind in ("conv", "convt"):
        return _conv_params(arrays, kind, label)
    if kind == "bnorm":
        return _bnorm_params(_checked(arrays, label), options["epsilon"], label)
    if kind in ("scale", "mulconst"):
        return _factors(_checked(arrays, label), kind, label)
    return _as_they_stand(arrays)


def epsilon_beside(kind: str, arrays: list[Any], options: dict[str, Any]) -> dict[str, float]:
    """What of a norm's epsilon can be taken from its moments.

    MatConvNet has added it to every variance, which is larger then. Where one is far smaller, as in files that were
    made by hand, "sigma^2 - epsilon" would keep no digit of sigma in float32, and there is none to take away.
    """
    if kind != "bnorm" or len(arrays) != 3 or not is_numeric(arrays[2]) or is_shape_only(arrays[2]):
        return {}
    if arrays[2].shape[1:] != (2,):
        return {}
    sigma = arrays[2][:, 1].astype(np.float64)
    return {"epsilon": 0.0} if (sigma**2 < options["epsilon"] / 2).any() else {}


def checked_options(layer: Layer) -> dict[str, Any]:
    """The options of a layer that somebody has made, those left out as MatConvNet assumes them.

    Raises:
        MatConvNetError: as for one from a file.
    """
    label = f"layer {layer.name!r} ({layer.type})"
    options = dict(DEFAULTS.get(layer.type, {}))
    for key, value in layer.options.items():
        numbers = np.asarray(value) if isinstance(value, (int, float, tuple)) else value
        options[key] = _option(key, numbers, label) if layer.type in CHECKED else value
    _check_window(layer.type, options, label)
    return options


def _check_window(kind: str, options: dict[str, Any], label: str) -> None:
    if kind != "pool":
        return
    if "pool" not in options:
        raise MatConvNetError(f"{label}: the field `pool`, the size of its window, is missing")
    (height, width), (top, bottom, left, right) = options["pool"], options["pad"]
    if max(top, bottom) >= height or max(left, right) >= width:
        raise MatConvNetError(
            f"{label}: `pad` {options['pad']} is as large as its window `pool` {options['pool']}, which would see "
            "nothing but padding"
        )


def unique_names(layers: list[Layer]) -> list[Layer]:
    """The layers with names that can be attributes: `conv1`, `conv2`, ... for those without, no name twice."""
    taken: set[str] = set()
    kinds: Counter[str] = Counter()
    counts: dict[str, int] = {}  # of a name that comes again and again
    named = []
    for layer in layers:
        kinds[layer.type] += 1
        name = re.sub(r"\W", "_", layer.name or f"{layer.type}{kinds[layer.type]}", flags=re.ASCII)
        if not name[0].isalpha():
            name = f"layer_{name}"
        if keyword.iskeyword(name) or hasattr(fx.GraphModule, name) or name in ("training", "meta", "x", "self"):
            name = f"{name}_"
        stem, count = name, counts.get(name, 1)
        while {name, f"{name}_pad", f"{name}_crop"} & taken:  # one that pads or crops by itself becomes two modules
            count += 1
            name = f"{stem}_{count}"
        counts[stem] = count
        taken |= {name, f"{name}_pad", f"{name}_crop"}
        named.append(replace(layer, name=name))
    return named


def _arrays(fields: dict[str, Any]) -> list[Any]:
    """The weight arrays, in order, whichever way the file keeps them; empty ones at the end are absent ones."""
    found = fields.get("weights", [])
    if is_empty(found) and "filters" in fields:
        found = [fields["filters"], fields.get("biases", np.zeros(0))]
    arrays = found if isinstance(found, list) else [found]
    while arrays and is_empty(arrays[-1]):
        arrays = arrays[:-1]
    return arrays


def _is_of_training(key: str) -> bool:
    """What `cnn_train` adds to a layer for its own use: momentum, and how fast each array learns and shrinks."""
    return key.startswith(WEIGHTS) and key.endswith(("Momentum", "LearningRate", "WeightDecay"))


def _more_weights(fields: dict[str, Any]) -> dict[str, list[NDArray]]:
    """Arrays that a layer has beside its weights, such as `weights_depth` for a second branch."""
    found = {}
    for key, value in fields.items():
        if key.startswith(WEIGHTS) and key not in NOT_OPTIONS:
            arrays = [array for array in (value if isinstance(value, list) else [value]) if is_numeric(array)]
            found[key] = [array for array in arrays if array.size]
    return found


def is_numeric(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "fiu"


def _checked(arrays: list[Any], label: str) -> list[NDArray]:
    for array in arrays:
        if is_empty(array):
            raise MatConvNetError(f"{label}: weights of size 0 stand before others, {_shapes(arrays)}")
        if not is_numeric(array):
            raise MatConvNetError(f"{label}: its weights are {_why_no_numbers(array)}")
        if not is_shape_only(array) and not fits_float32(array):
            raise MatConvNetError(f"{label}: its weights go up to {_largest(array):.3g}, beyond float32")
    return arrays


def fits_float32(array: NDArray) -> bool:
    """Whether its finite numbers stay finite in float32."""
    return array.dtype != np.float64 or not array.size or _largest(array) <= LARGEST


def _largest(array: NDArray) -> float:
    """The largest absolute value, infinity and NaN left out."""
    largest = max(np.fmax.reduce(array, axis=None), -np.fmin.reduce(array, axis=None))
    if not math.isfinite(largest):  # only then are the finite ones copied
        largest = np.abs(array[np.isfinite(array)]).max(initial=0)
    return float(largest)


def _why_no_numbers(array: Any) -> str:
    """What weights are that are no real numbers, and what to do in MATLAB."""
    if isinstance(array, Unread) and array.kind.startswith("sparse"):
        return "sparse: save full(...) of them"
    if isinstance(array, str) or (isinstance(array, np.ndarray) and array.dtype.kind in "US"):
        return "text, not numbers"
    if isinstance(array, Unread) and array.kind.startswith("complex"):
        return "complex: a network computes with real numbers"
    return (
        "no numbers but a MATLAB object; if the network was saved on the GPU, save it again in MATLAB after "
        "net = vl_simplenn_move(net, 'cpu')"
    )


def _conv_params(arrays: list[Any], kind: str, label: str) -> dict[str, Tensor]:
    """Kernel and bias; an empty one is none, and what comes after those has no use that is known.

    Without a kernel a conv only adds its bias.
    """
    if kind == "conv" and len(arrays) == 2 and is_empty(arrays[0]):
        return {"bias": _vector(_checked(arrays[1:], label)[0], None, label)}
    if not arrays:
        raise MatConvNetError(f"{label}: expected a kernel and perhaps a bias, found none")
    kernel, *others = _checked([arrays[0], *(array for array in arrays[1:2] if not is_empty(array))], label)
    try:
        params = {"weight": kernel_tensor(kernel)}
    except ValueError as error:
        raise MatConvNetError(f"{label}: {error}") from error
    for bias in others:
        params["bias"] = _vector(bias, len(params["weight"]) if kind == "conv" else None, label)
    return params | _as_they_stand(arrays[2:], first=3)


def _as_they_stand(arrays: list[Any], first: int = 1) -> dict[str, Tensor]:
    """Arrays that nothing is known of, as `weights_1`, `weights_2` and so on by their place."""
    numbered = enumerate(arrays, start=first)
    return {f"weights_{i}": as_it_stands(array) for i, array in numbered if is_numeric(array) and array.size}


def _bnorm_params(arrays: list[NDArray], epsilon: float, label: str) -> dict[str, Tensor]:
    if len(arrays) not in (2, 3):
        raise MatConvNetError(f"{label}: expected multipliers, biases and perhaps moments, found {_shapes(arrays)}")
    weight = _vector(arrays[0], None, label)
    params = {"weight": weight, "bias": _vector(arrays[1], len(weight), label)}
    if len(arrays) == 3 and is_shape_only(arrays[2]):
        params |= {key: torch.empty(len(weight), device="meta") for key in ("running_mean", "running_var")}
    elif len(arrays) == 3:
        if arrays[2].shape != (len(weight), 2):
            raise MatConvNetError(f"{label}: expected moments ({len(weight)}, 2), found {arrays[2].shape}")
        mean, sigma = tensor(arrays[2].astype(np.float64).T)
        params |= {"running_mean": mean, "running_var": (sigma.double() ** 2 - epsilon).float()}
    return params


def _factors(arrays: list[NDArray], kind: str, label: str) -> dict[str, Tensor]:
    """Factors, and perhaps what is added: one number, one for each channel, or one for each place of the image."""
    most = 2 if kind == "scale" else 1
    if len(arrays) > most or any(array.ndim > 3 for array in arrays):
        raise MatConvNetError(f"{label}: expected {most} arrays (H, W, C) at most, found {_shapes(arrays)}")
    keys = ("weight", "bias")
    return {key: _image(array) for key, array in zip(keys, arrays, strict=False)}


def _image(array: NDArray) -> Tensor:
    """(H, W), (H, W, C) -> (1, C, H, W), which PyTorch spreads as MATLAB does."""
    array = array.reshape(array.shape + (1,) * (3 - array.ndim))
    return tensor(array.transpose(2, 0, 1)[None])


def _vector(array: NDArray, length: int | None, label: str) -> Tensor:
    """(1, C), (C, 1), (C,) -> (C,)."""
    if array.size != max(array.shape) or length not in (None, array.size):
        expected = "a vector" if length is None else f"{length} values, one for each output channel"
        raise MatConvNetError(f"{label}: a bias or multiplier has shape {array.shape}, expected {expected}")
    return tensor(array.reshape(-1))


def is_empty(value: Any) -> bool:
    """Whether MATLAB would call it empty: an array, cell or text without elements."""
    return len(value) == 0 if isinstance(value, (list, dict, str)) else np.size(value) == 0


def _option(key: str, value: Any, label: str) -> Any:
    """Sizes and pads at their full length; the rest as `_plain_option` has it.

    Raises:
        MatConvNetError: an option that is known is text where numbers belong, of another length, or out of range.
    """
    if key in LENGTHS:
        return _lengths(key, value, label)
    if key == "method" and not isinstance(value, str):
        raise MatConvNetError(f"{label}: `method` is {_shown(value)}, expected the name of one")
    plain = _plain_option(value)
    if key in COUNTS:
        numbers = plain if isinstance(plain, tuple) else (plain,)
        known = all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        if not known or len(numbers) != COUNTS[key]:
            expected = "one finite number" if COUNTS[key] == 1 else f"{COUNTS[key]} finite numbers"
            raise MatConvNetError(f"{label}: `{key}` is {_shown(value)}, expected {expected}")
        first, least, most = numbers[0], *RANGES.get(key, (-MOST, MOST))
        if not least <= first <= most or max(map(abs, numbers)) > MOST:
            raise MatConvNetError(f"{label}: `{key}` is {_shown(value)}, expected numbers from {least} to {most}")
        if key in ("param", "dim", "groups") and not isinstance(first, int):
            raise MatConvNetError(f"{label}: `{key}` is {_shown(value)}, and {first} is no whole number")
    return plain


def _lengths(key: str, value: Any, label: str) -> tuple[int, ...]:
    least = 0 if key in ("pad", "crop", "offset") else 1
    what = f"expected 1 or {LENGTHS[key]} whole numbers, {least} at least and {MOST:,} at most"
    if not is_numeric(value) and not (isinstance(value, np.ndarray) and value.dtype.kind == "b"):
        raise MatConvNetError(f"{label}: `{key}` is {_shown(value)}, {what}")
    numbers = tuple(int(n) for n in np.nan_to_num(value.ravel(), nan=-1, posinf=-1, neginf=-1))
    if len(numbers) not in (1, LENGTHS[key]) or any(value.ravel() != numbers):
        raise MatConvNetError(f"{label}: `{key}` is {_shown(value)}, {what}")
    if min(numbers) < least or max(numbers) > MOST:
        raise MatConvNetError(f"{label}: `{key}` is {_shown(value)}, {what}")
    return numbers * (LENGTHS[key] // len(numbers))


def _shown(value: Any) -> str:
    """What stands in a field, in a few letters."""
    text = str(value.ravel().tolist()) if isinstance(value, np.ndarray) and value.size < 99 else briefly(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _plain_option(value: Any) -> Any:
    """A few numbers as int, float or tuple; anything else as it is."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.size > 16:
        return value
    numbers = tuple(int(n) if float(n).is_integer() else float(n) for n in value.ravel())
    return numbers[0] if len(numbers) == 1 else numbers


def _shapes(arrays: list[Any]) -> str:
    return ", ".join(str(np.shape(array)) for array in arrays) or "none"
