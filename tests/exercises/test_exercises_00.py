"""Exercise 0.1: right answers in unusual styles."""

import numpy as np
import pytest
import torch
from answers import expect_passed, named

RIGHT = [
    ("0.1", lambda model: sum(np.prod(p.shape) for p in model.parameters())),
    ("0.1", lambda model: sum(torch.tensor(p.numel()) for p in model.parameters())),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)
