"""What cannot be compared is named by one WeightsError."""

import pytest
import torch
from torch import nn

from helpers.errors import WeightsError
from helpers.parity import compare_outputs, outputs_of


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["0", "first"], r"there is no module 'first' \(.*\); there are 0, 1$"),
        ("0", "in a list, as texts, not as '0'"),
        ([0], "in a list, as texts"),
    ],
)
def test_names_that_are_none(names, said) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with pytest.raises(WeightsError, match=said):
        outputs_of(model, names, torch.ones(2, 3))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("pairs", [{}, ["0"], None, "0"])
def test_no_pairs_are_no_agreement(pairs) -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(WeightsError, match="pairs are a dictionary"):
        compare_outputs(model, model, pairs, torch.ones(2, 3))
