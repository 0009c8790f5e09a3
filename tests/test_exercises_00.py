"""The check of lesson 00 on the stub, on right answers, and on wrong ones."""

import numpy as np
import pytest
import torch

from helpers.exercises import check

WRONG = {
    "this counts the entries of state_dict()": lambda model: len(model.state_dict()),
    "a frozen layer has parameters, too": lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad),
    "this counts the tensors": lambda model: len(list(model.parameters())),
    "only its first dimension": lambda model: sum(len(p) for p in model.parameters()),
    "also holds buffers": lambda model: sum(t.numel() for t in model.state_dict().values()),
    "the biases are missing": lambda model: sum(p.numel() for p in model.parameters() if p.ndim > 1),
    "expected a whole number, got a Tensor": lambda model: torch.tensor([p.numel() for p in model.parameters()]),
    "stopped with AttributeError": lambda m: sum(x.weight.numel() + x.bias.numel() for x in m.children()),
    "expected 181 for a small Sequential, got 1": lambda model: 1,
    "expected 124 for a small Conv2d, got 181": lambda model: 181,
}


def test_stub_and_reference() -> None:
    def stub(model): ...

    assert check("0.1", stub).kind == "not attempted"
    assert check("0.1", lambda model: sum(p.numel() for p in model.parameters())).kind == "passed"
    assert check("0.1", lambda model: sum(np.prod(p.shape) for p in model.parameters())).kind == "passed"
    assert check("0.1", lambda model: sum(torch.tensor(p.numel()) for p in model.parameters())).kind == "passed"


@pytest.mark.parametrize("cause", WRONG)
def test_wrong_answers_are_told_their_cause(cause) -> None:
    result = check("0.1", WRONG[cause])
    assert result.kind == "not yet"
    assert cause in result.text
