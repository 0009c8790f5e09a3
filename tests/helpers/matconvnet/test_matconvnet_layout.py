"""Kernels, biases and fully connected layers between MatConvNet's layout and PyTorch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.matconvnet import conv_to_linear, hwio_to_oihw, linear_to_conv

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "u1"])
def test_every_element_of_a_kernel_moves_to_its_place(order: str, dtype: str) -> None:
    kernel = np.array(RNG.integers(0, 200, (2, 3, 4, 5)), dtype=dtype, order=order)
    weight = hwio_to_oihw(kernel)
    assert weight.shape == (5, 4, 2, 3)
    for h, w, i, o in np.ndindex(*kernel.shape):
        assert weight[o, i, h, w].item() == kernel[h, w, i, o]


@pytest.mark.parametrize(("stored", "meant"), [((3, 2, 5), (3, 2, 5, 1)), ((4, 3), (4, 3, 1, 1))])
def test_dropped_trailing_dimensions_come_back(stored: tuple, meant: tuple) -> None:
    kernel = RNG.normal(size=stored)
    weight = hwio_to_oihw(kernel)
    assert weight.shape == (meant[3], meant[2], meant[0], meant[1])
    for h, w, i, o in np.ndindex(*meant):
        assert weight[o, i, h, w].item() == np.float32(kernel.reshape(meant)[h, w, i, o])


def test_the_weight_owns_contiguous_float32_memory() -> None:
    kernel = np.asfortranarray(RNG.normal(size=(2, 3, 4, 5)), dtype=np.float32)
    weight = hwio_to_oihw(kernel)
    before = weight.clone()
    kernel[:] = 0
    assert weight.dtype == torch.float32
    assert weight.is_contiguous()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4, 5)])
def test_other_shapes_are_refused_by_name(shape: tuple) -> None:
    with pytest.raises(ValueError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        hwio_to_oihw(np.zeros(shape))


def test_conv_to_linear_computes_what_the_conv_computed() -> None:
    weight, features = torch.randn(6, 5, 3, 4), torch.randn(2, 5, 3, 4)
    conv = F.conv2d(features, weight).flatten(1)
    torch.testing.assert_close(F.linear(features.flatten(1), conv_to_linear(weight)), conv)


def test_linear_to_conv_is_its_inverse_and_slides() -> None:
    weight, features = torch.randn(6, 5 * 3 * 4), torch.randn(2, 5, 4, 6)
    kernel = linear_to_conv(weight, (3, 4))
    assert torch.equal(conv_to_linear(kernel), weight)
    windows = F.unfold(features, (3, 4))  # (2, 5 * 3 * 4, 2 * 3), each column one flattened window
    expected = (weight @ windows).reshape(2, 6, 2, 3)
    torch.testing.assert_close(F.conv2d(features, kernel), expected)


def test_converted_weights_are_copies() -> None:
    weight = torch.randn(6, 5, 3, 4)
    assert conv_to_linear(weight).data_ptr() != weight.data_ptr()
    linear = torch.randn(6, 60)
    assert linear_to_conv(linear, (3, 4)).data_ptr() != linear.data_ptr()


def test_weights_of_another_rank_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(6, 60\)"):
        conv_to_linear(torch.zeros(6, 60))
    with pytest.raises(ValueError, match=r"3x7 .*\(6, 60\)"):
        linear_to_conv(torch.zeros(6, 60), (3, 7))
