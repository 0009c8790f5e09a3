"""One family of errors: each room has its own, and all can be caught together."""

import pytest
import torch
from torch import nn

from helpers import checkpoint, errors, fcn, first_conv, freezing, heads, matconvnet, parity, state_dict

ROOMS = {
    "MatConvNetError": matconvnet,
    "StateDictError": state_dict,
    "FirstConvError": first_conv,
    "HeadError": heads,
    "FCNError": fcn,
    "FreezingError": freezing,
    "CheckpointError": checkpoint,
}


@pytest.mark.parametrize("name", ROOMS)
def test_an_error_is_that_of_its_room_a_weights_error_and_a_value_error(name) -> None:
    error = getattr(ROOMS[name], name)
    assert error is getattr(errors, name)
    assert name in ROOMS[name].__all__
    assert issubclass(error, errors.WeightsError)
    assert issubclass(error, ValueError)


def test_there_are_no_others() -> None:
    found = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert found == {*ROOMS, "WeightsError"}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: matconvnet.hwio_to_oihw(torch.ones(3).numpy()), "MatConvNetError"),
        (lambda: matconvnet.conv_to_linear(torch.ones(3, 2)), "MatConvNetError"),
        (lambda: matconvnet.linear_to_conv(torch.ones(3, 7), (2, 3)), "MatConvNetError"),
        (lambda: matconvnet.Network([], [], {"averageImage": [1, 2, 3]}).preprocess(torch.ones(2)), "MatConvNetError"),
        (lambda: state_dict.load_matching(nn.Linear(2, 3), {}), "StateDictError"),
        (lambda: first_conv.adapt_conv(nn.Conv2d(3, 4, 1), 0), "FirstConvError"),
        (lambda: heads.resize_head(nn.Linear(2, 3), 0), "HeadError"),
        (lambda: heads.truncate(nn.Sequential(nn.Linear(2, 3)), "nope"), "HeadError"),
        (lambda: fcn.linear_to_conv(nn.Linear(7, 2), 2), "FCNError"),
        (lambda: freezing.freeze(nn.Linear(2, 3), "nope"), "FreezingError"),
        (lambda: checkpoint.save_checkpoint("a.pt", model=nn.Linear(2, 3), epoch=-1), "CheckpointError"),
        (lambda: parity.relative_difference(torch.ones(2), torch.ones(3)), "WeightsError"),
    ],
)
def test_a_wrong_value_is_the_error_of_the_room(call, error) -> None:
    with pytest.raises(errors.WeightsError) as caught:
        call()
    assert type(caught.value).__name__ == error
