"""Lesson 01 in a browser: the network explorer, against what plain numpy and torch compute from the file."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import CLASSES, IMAGES, KERNELS, grey, probabilities, rearranged
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

WANTED, STORED, EXCHANGED = (
    "as PyTorch wants them",
    "as MatConvNet stores them, only reshaped",
    "height and width exchanged",
)
START = {"Layer": "conv1_1 (conv)", "Image": "0: cat"}


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("01_load_a_matconvnet_network_into_pytorch.ipynb", to="widgets.NetworkExplorer(")


@pytest.fixture
def explorer(lesson: Lesson) -> Interactive:
    """The explorer, back at its first state."""
    shown = lesson.interactive("network explorer")
    for label, option in START.items():
        shown.control(label).select_option(option)
    shown.control(WANTED).check()
    shown.control("in all layers at once").uncheck()
    expect(shown.view.locator("table").nth(1).locator("th").first).to_have_text("conv1_1")
    expect_prediction(shown, 0, WANTED, ["conv1_1"])
    return shown


def expect_prediction(explorer: Interactive, image: int, kernels: str, names: list[str]) -> None:
    """The bold row of the table says what a network loaded that way says."""
    found, right = probabilities(image, dict.fromkeys(names, kernels)), probabilities(image, {})
    probability, i = found.max(0)
    change = "" if kernels == WANTED else f"{(found - right).abs().max():.3f}"
    bold = explorer.view.locator("tr", has=explorer.page.locator("b")).locator("td")
    expect(bold).to_have_text([kernels, f"{CLASSES[i]} {probability:.2f}", change])


def expected_tiles(layer: str, kernels: str) -> np.ndarray:
    """The shades of the kernels: (down, across, height, width, RGB)."""
    shown = rearranged(KERNELS[layer], kernels)[:16, :8]
    limit = float(np.quantile(np.abs(rearranged(KERNELS[layer], "")[:16, :8]), 0.98))
    shades = np.vectorize(grey)(shown, limit)
    if KERNELS[layer].shape[2] == 3:
        return shades.transpose(0, 2, 3, 1)[None]
    return np.stack([shades.swapaxes(0, 1)] * 3, axis=-1)


def expect_kernels(explorer: Interactive, layer: str, kernels: str) -> None:
    """The first picture shows the kernels, each in 24x24 pixels with gaps of 4."""
    picture, tiles = explorer.pictures()[1], expected_tiles(layer, kernels)
    down, across, height, width = tiles.shape[:4]
    assert picture.shape == (down * 28 - 4, across * 28 - 4, 4)
    middle_rows = [28 * d + 24 * h // height + 12 // height for d in range(down) for h in range(height)]
    middle_columns = [28 * a + 24 * w // width + 12 // width for a in range(across) for w in range(width)]
    expected = tiles.swapaxes(1, 2).reshape(down * height, across * width, 3)
    assert np.abs(picture[np.ix_(middle_rows, middle_columns)][..., :3].astype(int) - expected).max() <= 1


def expect_all(explorer: Interactive, layer: str, image: int, kernels: str, names: list[str] | None = None) -> None:
    expect(explorer.view.locator("table").nth(1).locator("th").first).to_have_text(layer)
    expect_prediction(explorer, image, kernels, names or [layer])
    expect_kernels(explorer, layer, kernels)
    assert np.array_equal(explorer.pictures()[0][..., :3], IMAGES[image].transpose(1, 2, 0))


def test_all_controls_have_names(explorer) -> None:
    assert explorer.labels() == ["Layer", "Image", "in all layers at once", WANTED, STORED, EXCHANGED]


@pytest.mark.parametrize("layer", ["conv1_1", "conv2_2", "conv5_3", "fc6", "fc7"])
def test_each_layer_shows_its_shapes_kernels_and_prediction(explorer, layer) -> None:
    explorer.control("Layer").select_option(f"{layer} (conv)")
    expect_all(explorer, layer, 0, WANTED)
    height, width, inputs, outputs = KERNELS[layer].shape
    assert explorer.row("weight in the file")[1] == f"({height}, {width}, {inputs}, {outputs}) height, width, in, out"
    assert explorer.row("weight in PyTorch")[1] == f"({outputs}, {inputs}, {height}, {width}) out, in, height, width"


def test_a_layer_without_kernels_says_so(explorer) -> None:
    explorer.control("Layer").select_option("pool3 (pool)")
    expect(explorer.view.locator("table").nth(1).locator("th").nth(1)).to_have_text("pool, without kernels")
    assert explorer.row("options")[1].endswith("pool 2, 2 (height, width)")
    assert len(explorer.pictures()) == 1


@pytest.mark.parametrize("image", [1, 11])
def test_another_image_is_shown_and_predicted(explorer, image) -> None:
    option = explorer.control("Image").locator("option").nth(image).get_attribute("value")
    explorer.control("Image").select_option(option)
    expect_all(explorer, "conv1_1", image, WANTED)


@pytest.mark.parametrize("kernels", [STORED, EXCHANGED])
@pytest.mark.parametrize("layer", ["conv1_1", "conv2_2"])
def test_rearranged_kernels_look_and_predict_otherwise(explorer, layer, kernels) -> None:
    explorer.control("Layer").select_option(f"{layer} (conv)")
    expect_all(explorer, layer, 0, WANTED)
    before = explorer.pictures()[1]
    explorer.control(kernels).check()
    expect_all(explorer, layer, 0, kernels)
    assert not np.array_equal(before, explorer.pictures()[1])


def test_all_layers_at_once(explorer) -> None:
    explorer.control(EXCHANGED).check()
    explorer.control("in all layers at once").check()
    expect_all(explorer, "conv1_1", 0, EXCHANGED, names=list(KERNELS))


def test_it_works_by_keyboard(lesson, explorer) -> None:
    cells = lesson.cells()
    explorer.control("Layer").focus()
    lesson.press("f")  # to fc6; JupyterLab would search
    expect_all(explorer, "fc6", 0, WANTED)
    lesson.press("ArrowUp", "ArrowUp", "ArrowUp")
    expect_all(explorer, "conv5_3", 0, WANTED)
    lesson.press("Tab", "ArrowDown")
    expect_all(explorer, "conv5_3", 1, WANTED)
    lesson.press("Tab", "Tab", "ArrowDown", "ArrowDown")
    expect_all(explorer, "conv5_3", 1, EXCHANGED)
    lesson.press("Shift+Tab", "Space")
    expect_all(explorer, "conv5_3", 1, EXCHANGED, names=list(KERNELS))
    lesson.press("Tab")  # to the chosen one of the radio buttons
    expect(explorer.control(EXCHANGED)).to_be_focused()
    explorer.control("Layer").focus()
    lesson.press("d", "d")  # JupyterLab would delete the cell
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, explorer) -> None:
    lesson.expect_readable(explorer)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("01_load_a_matconvnet_network_into_pytorch.ipynb").expect_still(
        "network explorer", "weight in the file"
    )
