"""Lesson 02 in a browser: the checkpoint clinic."""

import re

import pytest
import torch
from by_hand import DATA
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

TENSORS = {key: tuple(tensor.shape) for key, tensor in torch.load(DATA / "vgg16_thin.pth").items()}
LINES = [f"{key} {shape}" for key, shape in TENSORS.items()]


def hwio(key: str, shape: tuple[int, ...]) -> str:
    return f"{key} {(*shape[2:], shape[1], shape[0])}" if len(shape) == 4 else f"{key} {shape}"


def twice(line: str) -> str:
    return line.replace("(10", "(20") if line.startswith("classifier.6") else line


PATIENTS = {  # the lines of each checkpoint, and what the diagnosis must name
    "patient 1": ([f"module.{line}" for line in LINES], ["'module.' in front"]),
    "patient 2": (["epoch = 90", "state_dict:", *(f"\u2003{line}" for line in LINES)], ["'state_dict'"]),
    "patient 3": (["model:", *(f"\u2003_orig_mod.{line}" for line in LINES)], ["'model'", "'_orig_mod.' in front"]),
    "patient 4": ([twice(line) for line in LINES], ["20 in the checkpoint, 10 in the model (classifier.6)"]),
    "patient 5": ([hwio(key, shape) for key, shape in TENSORS.items()], ["(height, width, in, out)"]),
    "patient 6": (
        [line.removeprefix("features.") for line in LINES if line.startswith("features")],
        ["'features.' in front", "classifier"],
    ),
}


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("02_load_all_of_a_state_dict.ipynb", to="widgets.CheckpointClinic(")


@pytest.fixture
def clinic(lesson: Lesson) -> Interactive:
    """The clinic, back at its first state."""
    shown = lesson.interactive("checkpoint clinic")
    # in this order: another patient unticks the box, too, and the answer of the kernel could cross the click
    shown.control("show the diagnosis").uncheck()
    shown.control("Checkpoint").select_option("patient 1")
    expect_keys(shown, "patient 1")
    expect(shown.view.locator("pre")).to_have_count(0)
    return shown


def expect_keys(clinic: Interactive, patient: str) -> None:
    cells = clinic.view.locator("td")
    expect(cells.nth(0)).to_have_text("".join(PATIENTS[patient][0]))
    expect(cells.nth(1)).to_have_text("".join(LINES))


def test_all_controls_have_names(clinic) -> None:
    assert clinic.labels() == ["Checkpoint", "show the diagnosis"]
    assert clinic.control("Checkpoint").locator("option").all_text_contents() == [
        name.replace(" ", "\xa0") for name in PATIENTS
    ]


@pytest.mark.parametrize("patient", PATIENTS)
def test_each_checkpoint_shows_its_keys_and_then_its_diagnosis(clinic, patient) -> None:
    clinic.control("Checkpoint").select_option(patient)
    expect_keys(clinic, patient)
    clinic.control("show the diagnosis").check()
    for part in PATIENTS[patient][1]:
        expect(clinic.view.locator("ul")).to_contain_text(part)
    expect(clinic.view.locator("pre")).to_contain_text(
        re.compile(r"(load_matching|load_state_dict)\((model, )?state_dict")
    )
    clinic.control("show the diagnosis").uncheck()
    expect(clinic.view.locator("pre")).to_have_count(0)


def test_both_lists_are_in_one_box_that_shows_a_dozen_lines(clinic) -> None:
    box = clinic.view.get_by_role("region", name="keys of the checkpoint and of the model")
    assert 12 < box.evaluate("box => box.clientHeight / parseFloat(getComputedStyle(box).lineHeight)") < 16
    at_its_end = "box => box.scrollTop + box.clientHeight > box.scrollHeight - 2"
    assert not box.evaluate(at_its_end)
    box.press("End")
    clinic.page.wait_for_function(at_its_end, arg=box.element_handle())
    expect(box.get_by_text("the model has")).to_be_in_viewport()


def test_the_diagnosis_marks_what_cannot_be_paired_and_shows_it(clinic) -> None:
    clinic.control("Checkpoint").select_option("patient 4")
    expect_keys(clinic, "patient 4")
    clinic.control("show the diagnosis").check()
    marked = clinic.view.locator("b")
    expect(marked).to_have_text([f"\u2717 {line}" for line in [*map(twice, LINES[-2:]), *LINES[-2:]]])
    for line in marked.all():
        expect(line).to_be_in_viewport()
    expect(clinic.view).to_contain_text("Lines with \u2717 have no partner")


def test_the_lines_load_the_checkpoint(clinic) -> None:
    """As a learner would paste them, into a model that has nothing of it yet."""
    from helpers.state_dict import load_matching
    from workbook.networks import vgg16

    right = torch.load(DATA / "vgg16_thin.pth")
    clinic.control("Checkpoint").select_option("patient 3")
    clinic.control("show the diagnosis").check()
    expect(clinic.view.locator("ul")).to_contain_text("_orig_mod.")
    lines = clinic.view.locator("pre").inner_text()
    assert re.search(r"state_dict\['model'\]", lines)
    state_dict = {"model": {f"_orig_mod.{key}": tensor for key, tensor in right.items()}}
    namespace = {"model": vgg16(), "state_dict": state_dict, "load_matching": load_matching}
    exec(lines, namespace)
    assert all(torch.equal(tensor, right[key]) for key, tensor in namespace["model"].state_dict().items())


def test_it_works_by_keyboard(lesson, clinic) -> None:
    cells = lesson.cells()
    clinic.control("Checkpoint").focus()
    lesson.press("ArrowDown", "ArrowDown")
    expect_keys(clinic, "patient 3")
    lesson.press("Tab", "Space")
    expect(clinic.view.locator("ul")).to_contain_text("_orig_mod.")
    lesson.press("d", "d")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, clinic) -> None:
    clinic.control("show the diagnosis").check()
    expect(clinic.view.locator("pre")).to_have_count(1)
    lesson.expect_readable(clinic)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("02_load_all_of_a_state_dict.ipynb").expect_still("checkpoint clinic", "module.features.0.weight")
