"""The global random states, kept for a while. That they are saved and restored, the tests of checkpoints show."""

import random

import numpy as np
import pytest
import torch

from helpers.random_states import random_states_kept

# ruff: noqa: NPY002  the global one is what is kept


def draws() -> list[float]:
    return [torch.rand(()).item(), torch.randn(()).item(), np.random.rand(), np.random.normal(), random.gauss(0, 1)]


def begin() -> None:
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    draws()  # Gaussians come in pairs: one is kept for the next call


def test_whatever_is_drawn_or_seeded_inside_nobody_notices() -> None:
    begin()
    expected = draws()
    begin()
    with random_states_kept():
        draws()
        torch.manual_seed(9), np.random.seed(9), random.seed(9)
    assert draws() == expected


def test_after_an_error_too() -> None:
    begin()
    expected = draws()
    begin()
    with pytest.raises(KeyError), random_states_kept():
        {}[draws()[0]]
    assert draws() == expected
