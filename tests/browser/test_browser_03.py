"""Lesson 03 in a browser: the key matcher."""

import re

import pytest
import torch
from by_hand import DATA
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

SHAPES = {key: tuple(tensor.shape) for key, tensor in torch.load(DATA / "vgg16_thin.pth").items()}
MODEL = {key: (102, *shape[1:]) if key.startswith("classifier.6") else shape for key, shape in SHAPES.items()}
CHECKPOINT = {
    f"{who}{key.replace('features.', 'backbone.').replace('classifier.', 'head.')}": shape
    for key, shape in SHAPES.items()
    for who in ("student.module.", "teacher.")
}
RULES = {
    "drop student.": (r"^student\.", ""),
    "drop teacher.": (r"^teacher\.", ""),
    "drop module.": (r"^module\.", ""),
    "backbone to features": (r"^backbone\.", "features."),
    "head to features": (r"^head\.", "features."),
    "head to classifier": (r"^head\.", "classifier."),
}
HIDE = "hide what is loaded"


def matched(ticks) -> str:
    """What the first line must say, by plain loops."""
    names = {}
    for key, shape in CHECKPOINT.items():
        for label in (label for label in RULES if label in ticks):
            key = re.sub(*RULES[label], key)
        assert key not in names
        names[key] = shape
    loaded = [key for key, shape in MODEL.items() if names.get(key) == shape]
    mismatched = [key for key in MODEL if key in names and key not in loaded]
    sizes = {key: torch.Size(shape).numel() for key, shape in MODEL.items()}
    share = sum(sizes[key] for key in loaded) / sum(sizes.values())
    return (
        f"{len(loaded)} loaded, {len(mismatched)} mismatched, {len(MODEL.keys() - names.keys())} missing, "
        f"{len(names.keys() - MODEL.keys())} unexpected; {share:.1%} of the numbers."
    )


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("03_load_the_part_that_fits.ipynb", to="widgets.KeyMatcher(")


@pytest.fixture
def matcher(lesson: Lesson) -> Interactive:
    """The matcher with no tick set."""
    shown = lesson.interactive("key matcher")
    tick(shown)
    expect_counts(shown)
    return shown


def tick(matcher: Interactive, *labels: str) -> None:
    for label in (*RULES, HIDE):
        matcher.control(label).set_checked(label in labels)


def expect_counts(matcher: Interactive, *ticks: str) -> None:
    expect(matcher.view.locator("p").first).to_contain_text(matched(ticks))


def test_all_controls_have_names(matcher) -> None:
    assert matcher.labels() == [*RULES, HIDE]


@pytest.mark.parametrize(
    "ticks",
    [
        ("drop teacher.",),
        ("drop teacher.", "backbone to features"),
        ("drop teacher.", "head to features"),
        ("drop teacher.", "backbone to features", "head to classifier"),
        ("drop student.", "backbone to features", "head to classifier"),
        ("drop student.", "drop module.", "backbone to features", "head to classifier"),
    ],
)
def test_the_counts_follow_the_ticks(matcher, ticks) -> None:
    tick(matcher, *ticks)
    expect_counts(matcher, *ticks)


@pytest.mark.parametrize(
    ("ticks", "clash"),
    [
        (("drop student.", "drop teacher.", "drop module."), "would both become 'backbone.0.weight'"),
        (("drop teacher.", "backbone to features", "head to features"), "would both become 'features.0.weight'"),
    ],
)
def test_rules_that_bring_two_tensors_together_are_refused(matcher, ticks, clash) -> None:
    tick(matcher, *ticks)
    expect(matcher.view).to_contain_text(clash)


def test_rows_show_pairs_and_shapes_and_can_be_hidden(matcher) -> None:
    ticks = ("drop teacher.", "backbone to features", "head to classifier")
    tick(matcher, *ticks)
    expect_counts(matcher, *ticks)
    rows = matcher.view.locator("tbody tr")
    expect(rows).to_have_count(32 + 32)
    head = rows.filter(has_text="classifier.6.weight")
    expect(head).to_contain_text("teacher.head.6.weight")
    expect(head).to_contain_text("mismatched: (10, 256) in the checkpoint, (102, 256) in the model")
    expect(rows.filter(has_text="teacher.backbone.28.bias")).to_contain_text("features.28.bias\u2713 loaded")
    matcher.control(HIDE).check()
    expect(rows).to_have_count(2 + 32)
    expect(rows.filter(has_text="loaded")).to_have_count(0)


def test_it_works_by_keyboard(lesson, matcher) -> None:
    cells = lesson.cells()
    matcher.control("drop student.").focus()
    lesson.press("Tab", "Space")
    expect_counts(matcher, "drop teacher.")
    lesson.press("Tab", "Tab", "Space")
    expect_counts(matcher, "drop teacher.", "backbone to features")
    lesson.press("Space")
    expect_counts(matcher, "drop teacher.")
    lesson.press("d", "d", "ArrowDown")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, matcher) -> None:
    tick(matcher, "drop teacher.", "backbone to features", "head to classifier")
    expect(matcher.view.locator("p").first).to_contain_text("30 loaded")
    lesson.expect_readable(matcher)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("03_load_the_part_that_fits.ipynb").expect_still(
        "key matcher", "student.module.backbone.0.weight"
    )
