"""The checks of lesson 01 on the stub, on right answers, and on the wrong answers that learners give."""

import re

import numpy as np
import pytest
import torch

from helpers.exercises import check, hint
from helpers.matconvnet import conv_to_linear, hwio_to_oihw


def full(kernel):
    return torch.tensor(kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim)))


def weight(kernel):
    return full(kernel).permute(3, 2, 0, 1).contiguous()


def hwio(kernel):
    return kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim)).transpose(3, 2, 0, 1)


def vector(bias):
    return torch.tensor(bias).reshape(-1)


def cells(raw):
    return raw["net"][0, 0]["layers"] if "net" in raw else raw["layers"]


def read(raw, relu=False, old=True, item=True, by_position=False):
    found = {}
    for element in cells(raw).ravel():
        layer = element[0, 0]
        names = layer.dtype.names
        name = layer["name"].item() if item else tuple(layer["name"])
        if "filters" in names and old:
            found[name] = (layer[2], layer[3]) if by_position else (layer["filters"], layer["biases"])
        elif "weights" in names and layer["weights"].size:
            found[name] = tuple(layer["weights"].ravel())
        elif "weights" in names and relu:
            found[name] = (None, None)
    return found


def first_attempt(raw):
    found = {}
    for element in raw["layers"][0]:
        layer = element[0, 0]
        if "weights" in layer.dtype.names:
            kernel, bias = layer["weights"][0]
            found[layer["name"].item()] = kernel, bias
    return found


def read_at_the_top_only(raw):
    return read({"layers": raw["layers"]})


def read_in_a_struct_only(raw):
    return read({"net": raw["net"]})


def read_without_zeros(raw):
    """As `read`, but what lies under `net` is taken for a struct, and not for an array of one."""
    return read({"layers": raw["layers"] if "layers" in raw else raw["net"]["layers"]})


def assigns_to_its_input(raw):
    if "net" in raw:
        raw["layers"] = cells(raw)
    return read(raw)


def fold(w, b, average, mean, std, scale=None, shift=None, shifted=None):
    scale = 255 * std if scale is None else scale
    shift = 255 * mean - average if shift is None else shift
    new = w * scale.view(1, 3, 1, 1)
    shifted = w if shifted is None else new
    return new, b + (shifted * shift.view(1, 3, 1, 1)).sum((1, 2, 3))


RIGHT = {
    "1.1": [lambda k, b: (weight(k), vector(b)), lambda k, b: [hwio_to_oihw(k), vector(b)]],
    "1.2": [
        lambda raw: dict(reversed(read(raw).items())),
        read,
        lambda raw: {k: np.array([a, b, None], dtype=object)[:2] for k, (a, b) in read(raw).items()},
    ],
    "1.3": [
        lambda k: weight(k).reshape(k.shape[3], -1),
        lambda k: conv_to_linear(weight(k)),
        lambda k: torch.tensor(k.transpose(2, 0, 1, 3).reshape(-1, k.shape[3]).T),
        lambda k: torch.einsum("hwio->oihw", torch.tensor(k)).flatten(1),
    ],
    "1.4": [fold, lambda w, b, a, m, s: fold(w, b, a, m, s, scale=s * 255.0)],
}

WRONG = {  # exercise -> what the message must name -> the answer
    "1.1": {
        "height and width are exchanged": lambda k, b: (weight(k).transpose(2, 3), vector(b)),
        "input and output channels are exchanged": lambda k, b: (weight(k).transpose(0, 1), vector(b)),
        "reshaped, which leaves its numbers": lambda k, b: (full(k).reshape(weight(k).shape), vector(b)),
        "picks one number out": lambda k, b: (weight(k), torch.tensor(b).transpose(1, 0)[0]),
        "the bias came first": lambda k, b: (vector(b), weight(k)),
        "still has two dimensions": lambda k, b: (weight(k), torch.tensor(b)),
        "it is always the last that is missing": lambda k, b: (torch.tensor(k.transpose(3, 2, 0, 1)), vector(b)),
        "for a kernel (2, 3, 4) and a bias (1, 1), your code stopped with ValueError: axes don't match": lambda k, b: (
            torch.tensor(k.transpose(3, 2, 0, 1)),
            vector(b),
        ),
        "put back in the wrong place": lambda k, b: (
            torch.tensor(k if k.ndim == 4 else k.reshape(2, 3, 1, 4)).permute(3, 2, 0, 1),
            vector(b),
        ),
        "for a kernel (4, 3) and a bias (1, 1), your code stopped": lambda k, b: (
            torch.tensor(k if k.ndim == 4 else k[..., None]).permute(3, 2, 0, 1),
            vector(b),
        ),
        "a dimension that MATLAB dropped was not put back": lambda k, b: (weight(k).squeeze(), vector(b)),
        "reshape(-1) does": lambda k, b: (weight(k), torch.tensor(b).squeeze()),
        "the `return` is missing": lambda k, b: print(end="", sep=str(weight(k).shape)),
        "share memory": lambda k, b: (
            (torch.from_numpy(full(k).numpy()), torch.from_numpy(b).reshape(-1))
            and (torch.from_numpy(k.reshape(k.shape + (1,) * (4 - k.ndim))).permute(3, 2, 0, 1), vector(b))
        ),
        "share memory; make": lambda k, b: (torch.from_numpy(np.ascontiguousarray(hwio(k))), vector(b)),
        "squeeze() also takes away": lambda k, b: (
            weight(k).squeeze(1) if 1 in k.shape[2:] else weight(k),
            vector(b),
        ),
        "not contiguous": lambda k, b: (full(k).permute(3, 2, 0, 1), vector(b)),
        "should be a torch.Tensor": lambda k, b: (weight(k).numpy(), vector(b)),
        "expected two values": lambda k, b: weight(k),
    },
    "1.2": {
        "leave such layers out": lambda raw: read(raw, relu=True),
        "a conv of an early file has no `weights`": lambda raw: read(raw, old=False),
        "take .item()": lambda raw: read(raw, item=False),
        "taken by position": lambda raw: read(raw, by_position=True),
        "the pair is the wrong way round": lambda raw: {k: (b, a) for k, (a, b) in read(raw).items()},
        "each element is a (1, 1) struct": lambda raw: {e["name"]: None for e in cells(raw)[0]},
        "but got a ndarray": lambda raw: {k: np.array([[1, 2]], dtype=object) for k in read(raw)},
        "expected two values, the kernel and the bias, but got 4 values": lambda raw: {
            e[0, 0]["name"].item(): (e[0, 0][3], e[0, 0][2])
            if "filters" in e[0, 0].dtype.names
            else tuple(e[0, 0][2][0])
            for e in cells(raw)[0]
            if e[0, 0]["type"].item() == "conv"
        },
        "not a list": lambda raw: list(read(raw)),
        "for a file with `net`, your code stopped with KeyError: 'layers'": read_at_the_top_only,
        "this file keeps its layers in a struct": read_at_the_top_only,
        "for a file with `net`, your code stopped with Type": read_without_zeros,
        "a struct is a (1, 1) array: raw['net'][0, 0]['layers']": read_without_zeros,
        "for a file with `net`, expected the layers c1, c2, c3 and c4, got none.\nLikely cause: this file keeps": (
            lambda raw: read(raw) if "layers" in raw else {}
        ),
        "for a file with `layers` at the top, your code stopped with KeyError: 'net'": read_in_a_struct_only,
        "not every file has a `net`": read_in_a_struct_only,
        "an assignment to a part of it": assigns_to_its_input,
        "for a file with `layers` at the top, the arrays of c1 came back as tensors": lambda raw: {
            k: (weight(a), vector(b)) for k, (a, b) in read(raw).items()
        },
        "converting them is exercise 1.1": lambda raw: {k: (hwio(a), b) for k, (a, b) in read(raw).items()},
        "came back as tensors.\nLikely cause: return the arrays as they are": lambda raw: {
            k: (a, torch.tensor(b)) for k, (a, b) in read(raw).items()
        },
        "a pool has no weights at all": lambda raw: read(raw) | {"p1": (None, None)},
        "a relu has a `weights` field, but it is empty": first_attempt,
        "a pool has no such field at all": lambda raw: {
            e[0, 0]["name"].item(): e[0, 0]["weights"] for e in cells(raw)[0]
        },
        "are the arrays themselves": lambda raw: {
            k: (a[0], b) if k == "c2" else (a, b) for k, (a, b) in read(raw).items()
        },
        "the bias was reshaped": lambda raw: {k: (a, b.reshape(-1)) for k, (a, b) in read(raw).items()},
        "the kernel and the bias, but got a int": lambda raw: dict.fromkeys(read(raw), 1),
        "expected the layers c1, c2, c3 and c4, got none": lambda raw: {},
    },
    "1.3": {
        "MATLAB's order (H, W, C)": lambda k: torch.tensor(k).reshape(-1, 5).T,
        "height and width are exchanged": lambda k: weight(k).transpose(2, 3).reshape(5, -1),
        "outputs and inputs are exchanged": lambda k: weight(k).reshape(5, -1).T,
        "reshape and flatten copy": lambda k: torch.tensor(k).permute(3, 2, 0, 1).view(5, -1),
        "without moving its axes": lambda k: torch.tensor(k).reshape(5, -1),
        "still a conv weight": weight,
        "should have shape (2, 12), but has (24, 1)": lambda k: weight(k).reshape(-1, 24 if k.shape[3] == 5 else 1),
    },
    "1.4": {
        "the factor 255 is missing": lambda w, b, a, m, s: fold(w, b, a, m, s, scale=s),
        "divided where it has to be multiplied": lambda w, b, a, m, s: fold(w, b, a, m, s, scale=255 / s),
        "code stopped with RuntimeError": lambda w, b, a, m, s: (w * s, b),
        "view them as (1, 3, 1, 1)": lambda w, b, a, m, s: (w * s, b),
        "average is missing from the shift": lambda w, b, a, m, s: fold(w, b, a, m, s, shift=255 * m),
        "the shift is 255 times too small": lambda w, b, a, m, s: fold(w, b, a, m, s, shift=m - a / 255),
        "255 * mean is missing": lambda w, b, a, m, s: fold(w, b, a, m, s, shift=-a),
        "take their sum, not their mean": lambda w, b, a, m, s: (
            fold(w, b, a, m, s)[0],
            b + (w * (255 * m - a).view(1, 3, 1, 1)).mean((1, 2, 3)),
        ),
        "the sum runs over the outputs too": lambda w, b, a, m, s: (
            fold(w, b, a, m, s)[0],
            b + (w * (255 * m - a).view(1, 3, 1, 1)).sum(),
        ),
        "did not go through the weight": lambda w, b, a, m, s: (fold(w, b, a, m, s)[0], b + (255 * m - a).sum()),
        "std belongs to the weight alone": lambda w, b, a, m, s: fold(w, b, a, m, s, shift=255 * m / s - a),
        "the old bias is missing": lambda w, b, a, m, s: fold(w, 0 * b, a, m, s),
        "std was not applied": lambda w, b, a, m, s: fold(w, b, a, m, s, scale=0 * s + 255),
        "the weight was not changed": lambda w, b, a, m, s: (w, b),
        "the bias was not changed": lambda w, b, a, m, s: (fold(w, b, a, m, s)[0], b),
        "the wrong sign": lambda w, b, a, m, s: fold(w, b, a, m, s, shift=a - 255 * m),
        "takes the old one": lambda w, b, a, m, s: fold(w, b, a, m, s, shifted=True),
        "not brought to the scale": lambda w, b, a, m, s: fold(w, b, a, m, s, shift=m - a),
        "changes what it was given": lambda w, b, a, m, s: (w.mul_(255 * s.view(1, 3, 1, 1)), b),
    },
}


@pytest.mark.parametrize("exercise", RIGHT)
def test_stub_reference_and_hints(exercise) -> None:
    assert check(exercise, ...).kind == "not attempted"
    assert check(exercise, lambda *given: ...).kind == "not attempted"
    for answer in RIGHT[exercise]:
        result = check(exercise, answer)
        assert result.kind == "passed", result
    assert "(1 of " in hint(exercise).text


@pytest.mark.parametrize(("exercise", "cause"), [(number, cause) for number in WRONG for cause in WRONG[number]])
def test_wrong_answers_are_told_their_cause(exercise, cause) -> None:
    result = check(exercise, WRONG[exercise][cause])
    assert result.kind == "not yet"
    # the line that failed is quoted, and here it may hold the very words that are looked for
    said = re.sub("^It happened in: .*", "", result.text, flags=re.M)
    assert cause in said, result.text


def test_inputs_of_the_checks_have_no_two_dimensions_alike() -> None:
    seen = []
    check("1.1", lambda k, b: seen.append(k.shape))
    check("1.3", lambda k: seen.append(k.shape))
    check("1.4", lambda w, *rest: seen.append(tuple(w.shape)))
    assert all(len(set(shape)) == len(shape) for shape in seen)
    assert len(seen) == 3
