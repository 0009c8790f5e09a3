"""Lesson 09 in a browser: the comparison of two files."""

import pytest
import wren_by_hand
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

LABELS = ["Convs", "Norms", "Input", "Names"]
SCALES = ("0 to 255", "0 to 1", "ImageNet's mean and std", "the checkpoint's mean and std")
ORDERS = {"as numbered": wren_by_hand.FORWARD, "the last two exchanged": wren_by_hand.EXCHANGED}
FILE = "the file's order"


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("09_move_in_a_network_you_have_not_met.ipynb", to="widgets.TwoFiles(")


@pytest.fixture
def files(lesson: Lesson) -> Interactive:
    shown = lesson.interactive("file comparison")
    choose(shown, "as numbered", "as numbered", "0 to 1", "CIFAR-10's order")
    expect(shown.view).to_contain_text("part at stem")
    return shown


def choose(shown: Interactive, *values: str) -> None:
    for label, value in zip(LABELS, values, strict=True):
        shown.control(label).select_option(value)


def test_all_controls_have_names(files) -> None:
    assert files.labels() == LABELS


@pytest.mark.parametrize("convs", ORDERS)
@pytest.mark.parametrize("norms", ORDERS)
def test_it_shows_where_the_two_part(files, convs, norms) -> None:
    x = wren_by_hand.pixels(5)
    found, answers = wren_by_hand.from_checkpoint((x / 255 - 0.5) / 0.25, ORDERS[convs], ORDERS[norms])
    right = wren_by_hand.share_right(answers, wren_by_hand.CHECKPOINT["classes"], 5)
    choose(files, convs, norms, SCALES[3], FILE)
    both = convs == norms == "the last two exchanged"
    where = "agree in all blocks" if both else "part at refine"
    expect(files.view).to_contain_text(f"The two networks {where}. Of 100 images, {right:.0%} get their right name.")
    for block, far in zip(wren_by_hand.BLOCKS, wren_by_hand.apart(found, wren_by_hand.from_mat(x)[0]), strict=True):
        said = files.row(block)[1]
        assert said == "equal" if far < 1e-4 else abs(int(said.removesuffix("% apart")) - 100 * far) <= 1


def test_it_works_by_keyboard(lesson, files) -> None:
    cells = lesson.cells()
    files.control("Convs").focus()
    lesson.press("ArrowDown", "Tab", "ArrowDown", "Tab", "ArrowDown", "ArrowDown")
    expect(files.view).to_contain_text("The two networks agree in all blocks. Of 100 images, ")
    misread = files.view.text_content()
    lesson.press("Tab", "ArrowDown")
    expect(files.view).not_to_have_text(misread)
    expect(files.view).to_contain_text("agree in all blocks")
    lesson.press("Escape", "d", "d")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, files) -> None:
    lesson.expect_readable(files)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("09_move_in_a_network_you_have_not_met.ipynb").expect_still("file comparison", "part at stem")
