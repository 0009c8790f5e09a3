"""Lesson 04 in a browser: channel surgery."""

import pytest
import torch
import torch.nn.functional as F
from by_hand import DATA, IMAGES, grey
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

from workbook.networks import vgg16

WEIGHTS = torch.load(DATA / "vgg16_thin.pth")
LABELS = ["Rule", "Channels", "They show", "Image"]
PIXELS = torch.tensor(IMAGES[:12]).float() / 255
GREY = "grey in each"
THEN_GREY = "red, green, blue, then grey"


def as_input(channels: int, show: str) -> torch.Tensor:
    """What the network sees of the 12 images."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    red, green, blue = PIXELS.unbind(1)
    luminance = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    colours, one = (F.interpolate(p, (64, 64), mode="bilinear") for p in (PIXELS, luminance))
    parts = [(one - 0.449) / 0.226] * 12
    if show == THEN_GREY:
        parts = [*((colours - mean) / std).split(1, 1), *parts]
    return torch.cat(parts[:channels], 1)


@torch.no_grad()
def prediction(weight: torch.Tensor, channels: int, show: str) -> torch.Tensor:
    """(12, 10) probabilities, by a network whose first conv has that weight."""
    model = vgg16()
    model.features[0] = torch.nn.Conv2d(channels, 16, 3, padding=1)
    model.load_state_dict(WEIGHTS | {"features.0.weight": weight})
    return model.eval()(as_input(channels, show)).softmax(1)


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("04_adapt_the_first_conv.ipynb", to="widgets.ChannelSurgery(")


@pytest.fixture
def surgery(lesson: Lesson) -> Interactive:
    """It, showing what it shows at first."""
    shown = lesson.interactive("channel surgery")
    shown.control("Rule").select_option("sum")
    shown.control("They show").select_option(GREY)
    shown.control("Image").select_option(index=0)
    shown.slide(1)
    expect(shown.view).to_contain_text("sum, 1 channel")
    return shown


def test_all_controls_have_names(surgery) -> None:
    assert surgery.labels() == LABELS


@pytest.mark.parametrize(
    ("rule", "channels", "show", "image"),
    [("sum", 1, GREY, 3), ("mean", 1, GREY, 0), ("tile", 2, THEN_GREY, 1), ("mean_extra", 5, THEN_GREY, 2)],
)
def test_it_says_what_networks_built_by_hand_say(surgery, rule, channels, show, image) -> None:
    old = WEIGHTS["features.0.weight"]
    new = {
        "sum": old.sum(1, keepdim=True),
        "mean": old.mean(1, keepdim=True),
        "tile": old[:, :2] * 3 / 2,
        "mean_extra": torch.cat([old] + [old.mean(1, keepdim=True)] * 2, 1),
    }[rule]
    surgery.control("Rule").select_option(rule)
    surgery.control("They show").select_option(show)
    surgery.control("Image").select_option(index=image)
    surgery.slide(channels)
    before, after = prediction(old, 3, show), prediction(new, channels, show)
    change = (after - before)[image].abs().max()
    row = f"{rule}, {channels} channel{'s' if channels > 1 else ''}"
    expect(surgery.view).to_contain_text(row)
    expect(surgery.view).to_contain_text(f"{change:.3f}")
    said = surgery.row(row)
    assert said[1].endswith(f" {after[image].max():.2f}")
    assert surgery.row("RGB")[1].endswith(f" {before[image].max():.2f}")
    kernels = surgery.pictures()[3]
    limit = torch.quantile(old.abs(), 0.98).item()
    # the number in row 1, column 0 of output 5 for the last channel; 8 pixels for each number, 4 between kernels
    x, y = 5 * 28 + 1, (channels - 1) * 28 + 9
    assert abs(int(kernels[y, x, 0]) - grey(new[5, channels - 1, 1, 0].item(), limit)) <= 1


def test_a_rule_that_cannot_make_so_few_channels_says_so(surgery) -> None:
    surgery.control("Rule").select_option("zeros")
    expect(surgery.view).to_contain_text("this rule keeps all 3 old channels, and 1 are fewer: use 'sum'")
    surgery.slide(4)
    expect(surgery.view).to_contain_text("zeros, 4 channels")


def test_it_works_by_keyboard(lesson, surgery) -> None:
    cells = lesson.cells()
    surgery.control("Rule").focus()
    surgery.expect_change(lambda: lesson.press("ArrowDown"))
    expect(surgery.view).to_contain_text("mean, 1 channel")
    lesson.press("Tab", "ArrowRight")
    expect(surgery.view).to_contain_text("mean, 2 channels")
    lesson.press("Escape", "d", "d")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, surgery) -> None:
    lesson.expect_readable(surgery)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("04_adapt_the_first_conv.ipynb").expect_still("channel surgery", "sum, 1 channel")
