"""The training that lessons share, against gradients written out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from workbook.training import few_of_each, fit


def test_few_of_each_draws_that_many_of_each_class_and_the_same_again() -> None:
    labels = torch.randint(0, 4, (90,), generator=torch.Generator().manual_seed(0))
    few = few_of_each(labels, 5, seed=1)
    assert labels[few].tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    assert len(set(few.tolist())) == 20
    assert torch.equal(few, few_of_each(labels, 5, seed=1))
    assert not torch.equal(few, few_of_each(labels, 5, seed=2))


def test_few_of_each_leaves_the_global_dice_alone_and_says_if_there_are_too_few() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    few_of_each(torch.tensor([0, 1, 0, 1]), 2, seed=3)
    assert torch.equal(torch.rand(3), expected)
    with pytest.raises(ValueError, match="a class has 1 examples, not 2"):
        few_of_each(torch.tensor([0, 1, 0]), 2, seed=3)


def test_fit_is_gradient_descent_with_a_rate_that_falls_to_nearly_zero() -> None:
    torch.manual_seed(0)
    inputs, labels, model = torch.randn(7, 3), torch.tensor([0, 1, 1, 0, 1, 0, 0]), nn.Linear(3, 2, bias=False)
    weight = model.weight.detach().double().numpy().copy()
    torch.manual_seed(1)
    orders = [torch.randperm(7).numpy() for _ in range(2)]
    batches = [order[i : i + 3] for order in orders for i in (0, 3, 6)]
    for step, batch in enumerate(batches):
        x = inputs.double().numpy()[batch]
        scores = np.exp(x @ weight.T)
        error = scores / scores.sum(1, keepdims=True) - np.eye(2)[labels.numpy()[batch]]
        rate = 0.5 * (1 - step / 6 * (1 - 1 / 6))  # from 0.5, in a straight line, to a sixth of it after six steps
        weight -= rate * error.T @ x / len(batch)
    torch.manual_seed(1)
    fit(model, torch.optim.SGD(model.parameters(), lr=0.5), inputs, labels, epochs=2, batch_size=3)
    assert np.allclose(model.weight.detach().numpy(), weight, atol=1e-5)


def test_fit_keeps_modes_and_tells_when_an_epoch_is_over() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model[1].eval()
    seen = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(
        model, optimizer, torch.randn(8, 3), torch.zeros(8, dtype=torch.int64), 3, batch_size=4, after_epoch=seen.append
    )
    assert seen == [1, 2, 3]
    assert [module.training for module in model] == [True, False, True, True]
    assert model[1].num_batches_tracked == 6  # in train mode, whatever it was before
