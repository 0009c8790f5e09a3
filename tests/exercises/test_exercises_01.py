"""Lesson 01: right answers in unusual styles, and wrong ones in foreign spellings."""

import numpy as np
import pytest
import torch
from answers import expect_not_yet, expect_passed, named, outcome

from helpers.matconvnet import conv_to_linear, hwio_to_oihw
from workbook.exercises.lesson_01.exercise_1_1 import full, vector_of, weight_of
from workbook.exercises.lesson_01.exercise_1_2 import layers_of
from workbook.exercises.lesson_01.exercise_1_2 import right as read
from workbook.exercises.lesson_01.exercise_1_4 import right as folded

RIGHT = [
    ("1.1", lambda k, b: [hwio_to_oihw(k), vector_of(b)]),
    ("1.2", lambda raw: dict(reversed(read(raw).items()))),
    ("1.2", lambda raw: {name: np.array([a, b, None], dtype=object)[:2] for name, (a, b) in read(raw).items()}),
    ("1.3", lambda k: weight_of(k).reshape(k.shape[3], -1)),
    ("1.3", lambda k: conv_to_linear(weight_of(k))),
    ("1.3", lambda k: torch.tensor(k.transpose(2, 0, 1, 3).reshape(-1, k.shape[3]).T)),
    ("1.3", lambda k: torch.einsum("hwio->oihw", torch.tensor(k)).flatten(1)),
    ("1.4", lambda w, b, average, mean, std: folded(w, b, average, mean, std.double())),
    (
        "1.4",
        lambda w, b, average, mean, std: [
            torch.einsum("oihw,i->oihw", w, std * 255.0),
            b + w.sum((2, 3)) @ (255 * mean - average),
        ],
    ),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


def four_axes_or(change):
    """An answer that handles dropped dimensions in its own way."""
    return lambda k, b: (torch.tensor(k if k.ndim == 4 else change(k)).permute(3, 2, 0, 1), vector_of(b))


def reads_without_zeros(raw):
    """What lies under `net` is taken for a struct, and not for an array of one."""
    return read({"layers": raw["layers"] if "layers" in raw else raw["net"]["layers"]})


def reads_by_other_positions(raw):
    found = {}
    for element in layers_of(raw)[0]:
        layer = element[0, 0]
        if layer["type"].item().startswith("conv"):
            early = "filters" in layer.dtype.names
            found[layer["name"].item()] = (layer[3], layer[2]) if early else tuple(layer[2][0])
    return found


def takes_the_first_of_empty_weights(raw):
    found = {}
    for element in layers_of(raw)[0]:
        layer = element[0, 0]
        if "weights" in layer.dtype.names:
            found[layer["name"].item()] = layer["weights"][0, 0], layer["weights"][0, 1]
    return found


WRONG = [
    ("1.1", lambda k, b: (torch.tensor(full(k)).reshape(weight_of(k).shape), vector_of(b)), "was reshaped, which"),
    (
        "1.1",
        lambda k, b: (torch.tensor(k.transpose(3, 2, 0, 1)), vector_of(b)),
        "for a kernel (2, 3, 4) and a bias (1, 1), your code stopped with ValueError: axes don't match",
    ),
    ("1.1", four_axes_or(lambda k: k.reshape(2, 3, 1, 4)), "put back in the wrong place"),
    ("1.1", four_axes_or(lambda k: k[..., None]), "for a kernel (4, 3) and a bias (1, 1), your code stopped"),
    ("1.1", lambda k, b: (weight_of(k), torch.tensor(b).transpose(1, 0)[0]), "out of a bias that lies as a row"),
    ("1.1", lambda k, b: (weight_of(k), torch.tensor(b)[0]), "out of a bias that lies as a column"),
    (
        "1.1",
        lambda k, b: (weight_of(k).squeeze(1) if 1 in k.shape[2:] else weight_of(k), vector_of(b)),
        "squeeze() also",
    ),
    (
        "1.1",
        lambda k, b: (torch.from_numpy(np.ascontiguousarray(full(k).transpose(3, 2, 0, 1))), vector_of(b)),
        "share memory; make",
    ),
    ("1.1", lambda k, b: (weight_of(k), torch.from_numpy(b).reshape(-1)), "share memory; make"),
    ("1.1", lambda k, b: (weight_of(k)[0], vector_of(b)), "should have shape (5, 4, 2, 3), but has (4, 2, 3)."),
    ("1.2", lambda raw: {(name,): arrays for name, arrays in read(raw).items()}, "take .item()"),
    ("1.2", lambda raw: {name: np.array([[1, 2]], dtype=object) for name in read(raw)}, "but got a ndarray"),
    ("1.2", reads_by_other_positions, "expected two values, the kernel and the bias, but got 4 values"),
    ("1.2", takes_the_first_of_empty_weights, "a relu has a `weights` field, but it is empty"),
    (
        "1.2",
        lambda raw: read({"layers": raw["layers"]}),
        "for a file with `net`, your code stopped with KeyError: 'layers'",
    ),
    ("1.2", reads_without_zeros, "for a file with `net`, your code stopped with Type"),
    ("1.2", reads_without_zeros, "a struct is a (1, 1) array: raw['net'][0, 0]['layers']"),
    (
        "1.2",
        lambda raw: read(raw) if "layers" in raw else {},
        "expected the layers c1, c2, C3, c4, c5 and up, got none.\nLikely cause: this file keeps",
    ),
    (
        "1.2",
        lambda raw: read({"net": raw["net"]}),
        "for a file with `layers` at the top, your code stopped with KeyError: 'net'",
    ),
    (
        "1.2",
        lambda raw: {name: (weight_of(a), vector_of(b)) for name, (a, b) in read(raw).items()},
        "for a file with `layers` at the top, the arrays of c1 came back as tensors",
    ),
    (
        "1.2",
        lambda raw: {name: (a, torch.tensor(b)) for name, (a, b) in read(raw).items()},
        "came back as tensors.\nLikely cause: return the arrays as they are",
    ),
    (
        "1.2",
        lambda raw: {name: (a[0], b) if name == "c2" else (a, b) for name, (a, b) in read(raw).items()},
        "are the arrays themselves",
    ),
    ("1.2", lambda raw: {name: (a, a) for name, (a, b) in read(raw).items()}, "the bias of c1 should have shape"),
    (
        "1.3",
        lambda k: weight_of(k).reshape(-1, 24 if k.shape[3] == 5 else 1),
        "should have shape (2, 12), but has (24, 1)",
    ),
    ("1.4", lambda w, b, average, mean, std: (w, b), "the weight was not changed"),
    ("1.4", lambda w, b, average, mean, std: (w * std, b), "code stopped with RuntimeError"),
    ("1.4", lambda w, b, *rest: (w.mul_(2), b), "changes what it was given"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)


def test_inputs_of_the_checks_have_no_two_dimensions_alike() -> None:
    seen = []
    outcome("1.1", lambda k, b: seen.append(k.shape))
    outcome("1.3", lambda k: seen.append(k.shape))
    outcome("1.4", lambda w, *rest: seen.append(tuple(w.shape)))
    assert all(len(set(shape)) == len(shape) for shape in seen)
    assert len(seen) == 3
