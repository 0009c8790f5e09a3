"""Lesson 06 in a browser: the upsampling bench."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from by_hand import IMAGES
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

LABELS = ["Kernel size", "Stride", "Padding", "Start"]
IMAGE = torch.tensor(IMAGES[0, :, ::2, ::2])


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("06_turn_vgg16_into_an_fcn.ipynb", to="widgets.UpsamplingBench(")


@pytest.fixture
def bench(lesson: Lesson) -> Interactive:
    shown = lesson.interactive("upsampling bench")
    choose(shown, 8, 4, 2, "bilinear")
    expect(shown.view).to_contain_text("become 64 x 64. Away from the border it is interpolation")
    return shown


def choose(shown: Interactive, size: int, stride: int, padding: int, start: str) -> None:
    for place, value in enumerate((size, stride, padding)):
        shown.slide(value, place)
    shown.control("Start").select_option(start)


def test_all_controls_have_names(bench) -> None:
    assert bench.labels() == LABELS


@pytest.mark.parametrize(("size", "stride", "padding"), [(5, 3, 1), (4, 2, 1), (12, 6, 3)])
def test_it_shows_what_torch_interpolates(bench, size, stride, padding) -> None:
    choose(bench, size, stride, padding, "bilinear")
    side = 16 * stride
    expect(bench.view).to_contain_text(
        f"16 x 16 pixels become {side} x {side}. Away from the border it is interpolation"
    )
    expected = F.interpolate(IMAGE[None].float(), scale_factor=stride, mode="bilinear")[0].permute(1, 2, 0).numpy()
    _, _, larger, difference = bench.pictures()
    inside = slice(stride, -stride)
    assert np.abs(larger[inside, inside, :3] - expected[inside, inside]).max() <= 1
    assert difference[inside, inside, :3].max() == 0
    assert difference[..., :3].max() > 50


def test_other_sizes_cannot_be_compared(bench) -> None:
    choose(bench, 8, 4, 0, "bilinear")
    expect(bench.view).to_contain_text("become 68 x 68; interpolation gives 64 x 64. A padding of 2 gives that size.")
    assert len(bench.pictures()) == 3
    choose(bench, 7, 4, 0, "bilinear")
    expect(bench.view).to_contain_text("With this kernel size no padding gives that.")


def test_equal_numbers_repeat_pixels(bench) -> None:
    choose(bench, 4, 4, 0, "equal numbers")
    smooth, repeated = (
        F.interpolate(IMAGE[None] / 255, scale_factor=4, mode=mode)[0].permute(1, 2, 0)
        for mode in ("bilinear", "nearest")
    )
    most = (smooth - repeated)[4:-4, 4:-4].abs().max()
    expect(bench.view).to_contain_text(f"Away from the border it differs from interpolation by up to {most:.3f}")
    assert np.abs(bench.pictures()[2][..., :3] / 255 - repeated.numpy()).max() < 1 / 200


@pytest.mark.parametrize("start", ["PyTorch's own", "zeros"])
def test_other_starts_do_not_show_the_image(bench, start) -> None:
    bench.expect_change(lambda: bench.control("Start").select_option(start))
    assert bench.pictures()[2][..., :3].mean() < 20


def test_it_works_by_keyboard(lesson, bench) -> None:
    cells = lesson.cells()
    bench.root.get_by_role("slider").first.focus()
    lesson.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    expect(bench.view).to_contain_text("become 61 x 61")
    lesson.press("Tab", "Tab", "ArrowLeft")  # past the number beside the slider
    expect(bench.view).to_contain_text("become 46 x 46")
    lesson.press("Tab", "Tab", "ArrowLeft")
    expect(bench.view).to_contain_text("become 48 x 48. Away from the border it is interpolation")
    lesson.press("Tab", "Tab", "ArrowDown")
    expect(bench.view).to_contain_text("differs from interpolation")
    lesson.press("Escape", "d", "d")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, bench) -> None:
    lesson.expect_readable(bench)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("06_turn_vgg16_into_an_fcn.ipynb").expect_still(
        "upsampling bench", "16 x 16 pixels become 64 x 64"
    )
