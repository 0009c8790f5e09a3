"""Images that are none, or were prepared before, are refused by name."""

import numpy as np
import pytest
import torch

from workbook.data import normalize

PICTURE = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(torch.uint8)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.float16, torch.float32, torch.float64])
def test_other_numbers_on_the_same_scale_are_the_same_images(dtype) -> None:
    torch.testing.assert_close(normalize(PICTURE.to(dtype), (6, 7)), normalize(PICTURE, (6, 7)))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (PICTURE.float() / 255, "these end at 0.467: scaled before"),
        (PICTURE.half() / 255, "scaled before"),
        (normalize(PICTURE), "normalised before"),
        (PICTURE.long() * 257, r"these go from 0 to 3\.06e\+04"),
        (torch.full((1, 3, 4, 5), float("nan")), "from nan to nan"),
        (PICTURE[0], r"not \(3, 4, 5\)"),
        (PICTURE.permute(0, 2, 3, 1), r"not \(2, 4, 5, 3\)"),
        (PICTURE[:, :2], r"not \(2, 2, 4, 5\)"),
        (PICTURE[..., :0], r"not \(2, 3, 4, 0\)"),
        (PICTURE.numpy(), "not a ndarray"),
        (PICTURE > 1, "not torch.bool"),
        (np.zeros(3), "not a ndarray"),
        (None, "not a NoneType"),
    ],
    ids=str,
)
def test_what_are_no_images(images, said) -> None:
    with pytest.raises(ValueError, match=said):
        normalize(images, 8)


@pytest.mark.parametrize("size", [0, -1, 2.5, "8", None, True, (3,), (3, 4, 5), (8, 0), (8, 2.0)], ids=str)
def test_what_is_no_size(size) -> None:
    with pytest.raises(ValueError, match="the size is a whole number of pixels"):
        normalize(PICTURE, size)
