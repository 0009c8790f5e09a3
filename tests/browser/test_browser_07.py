"""Lesson 07 in a browser: the freeze tree."""

import pytest
import torch
from by_hand import DATA
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

MODULES = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
WEIGHTS = torch.load(DATA / "resnet18_thin.pth")


def parameters(module: str) -> int:
    """How many numbers the checkpoint has for a module; lesson 07 has ten classes, as it has."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return sum(t.numel() for key, t in WEIGHTS.items() if key.split(".")[0] == module and not key.endswith(buffers))


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("07_freeze_the_layers_you_keep.ipynb", to="widgets.FreezeTree(")


@pytest.fixture
def tree(lesson: Lesson) -> Interactive:
    shown = lesson.interactive("freeze tree")
    tick(shown)
    return shown


def tick(shown: Interactive, *frozen: str) -> None:
    """Tick these modules and no others, and wait until they are counted."""
    for name in MODULES:
        shown.control(name).set_checked(name in frozen)
    trained = sum(parameters(name) for name in MODULES if name not in frozen)
    expect(shown.view).to_contain_text(f"{trained:,} of {sum(map(parameters, MODULES)):,} parameters are trained")


def test_all_controls_have_names(tree) -> None:
    assert tree.labels() == [*MODULES, "Measure the time"]


def test_ticks_show_where_backward_goes(tree) -> None:
    tick(tree, *MODULES[:6])
    assert tree.row("layer4")[1:4] == [f"{parameters('layer4'):,}", "frozen", "not reached"]
    assert tree.row("fc")[2:4] == ["trained", "for its weights"]
    expect(tree.view).to_contain_text("A step needs 35% of the operations")
    tick(tree, *MODULES[1:])
    assert tree.row("conv1")[2:4] == ["trained", "for its weights"]
    for name in MODULES[1:]:
        assert tree.row(name)[2:4] == ["frozen", "only passed through"]
    expect(tree.view).to_contain_text("A step needs 71% of the operations")


def test_the_answers_to_the_questions_of_the_lesson(tree) -> None:
    def kept(*frozen: str) -> float:
        tick(tree, *frozen)
        return float(tree.view.text_content().split("(measured: ")[1].split(" MB")[0])

    everything = kept()
    assert kept("layer4") > 0.95 * everything
    assert kept("conv1", "bn1") > everything / 2 > kept("conv1", "bn1", "layer1")


def test_the_time_is_measured_on_demand(tree) -> None:
    tick(tree, *MODULES[:6])
    expect(tree.view).not_to_contain_text("Measured just now")
    tree.control("Measure the time").click()
    expect(tree.view).to_contain_text("ms for a step", timeout=30_000)
    said = tree.view.text_content().split("Measured just now: ")[1]
    now, share = float(said.split(" ms")[0]), float(said.split("step, ")[1].split("%")[0])
    assert now > 0
    assert share < 100


def test_all_frozen_has_nothing_to_train(tree) -> None:
    for name in MODULES:
        tree.control(name).check()
    expect(tree.view).to_contain_text("All is frozen: there is nothing to train")


def test_it_works_by_keyboard(lesson, tree) -> None:
    cells = lesson.cells()
    tree.control("conv1").focus()
    lesson.press("Space")
    expect(tree.control("conv1")).to_be_checked()
    lesson.press("Tab", "Space")
    trained = sum(map(parameters, MODULES[2:]))
    expect(tree.view).to_contain_text(f"{trained:,} of")
    lesson.press("Escape", "d", "d")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, tree) -> None:
    tick(tree, "layer2")
    lesson.expect_readable(tree)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("07_freeze_the_layers_you_keep.ipynb").expect_still(
        "freeze tree", "1,097,150 of 1,097,150 parameters are trained"
    )
