"""`explain` in every situation of this folder: it names the cause, and its lines do what is right and nothing else."""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from situations import SITUATIONS, tensors
from torch.testing import assert_close

from helpers.state_dict import explain

for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    if not path.stem.startswith("test_"):
        importlib.import_module(path.stem)


def numbers(state_dict: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """The plain tensors of a checkpoint, in memory of their own."""
    plain = {}
    for key, value in state_dict.items():
        if isinstance(value, torch.Tensor) and type(value) is torch.Tensor and value.layout == torch.strided:
            plain[key] = value.detach().clone()
    return plain


def listed() -> list[object]:
    """All of them; those that `explain` does not know yet are expected to fail, and go red as soon as one passes."""
    unknown = pytest.mark.xfail(strict=True, raises=AssertionError, reason="explain names another cause")
    return [
        pytest.param(name, marks=unknown if given.module == "not_yet_known" else ())
        for name, given in SITUATIONS.items()
    ]


@pytest.mark.parametrize("name", listed())
def test_the_cause_is_named_and_the_lines_do_what_is_right(name: str) -> None:
    torch.manual_seed(2)
    given = SITUATIONS[name].make()
    before, random_state = tensors(given.model), torch.get_rng_state()
    kept, held = copy.copy(given.state_dict), numbers(given.state_dict)
    explanation = explain(given.model, given.state_dict)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert given.state_dict.keys() == kept.keys()
    assert all(given.state_dict[key] is kept[key] for key in kept)
    for key, tensor in held.items():
        assert_close(given.state_dict[key], tensor, rtol=0, atol=0, equal_nan=True, msg=f"explain changed {key}")
    for key, tensor in tensors(given.model).items():
        assert_close(tensor, before[key], rtol=0, atol=0, equal_nan=True, msg=f"explain changed {key} of the model")
    for pattern in given.says:
        assert any(re.search(pattern, cause, re.IGNORECASE) for cause in explanation.causes), (pattern, explanation)
    for pattern in given.never:
        assert not any(re.search(pattern, cause, re.IGNORECASE) for cause in explanation.causes), (pattern, explanation)
    if given.holds is None:
        assert explanation.fix == "", explanation
        return
    assert explanation.fix, explanation
    exec(explanation.fix, {"model": given.model, "state_dict": given.state_dict})
    right = before | given.holds
    for key, tensor in tensors(given.model).items():
        if not tensor.is_meta:
            assert_close(tensor, right[key], equal_nan=True, msg=lambda text, key=key: f"{key}: {text}\n{explanation}")


def test_there_are_enough_of_them() -> None:
    known = [given for given in SITUATIONS.values() if given.module != "not_yet_known"]
    reports = [given.report for given in known if given.report]
    assert len(known) >= 60
    assert len(set(reports)) >= 30
