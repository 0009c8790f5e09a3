"""Lesson 05 in a browser: cut and graft."""

import pytest
import torch
import torch.nn.functional as F
from by_hand import DATA, IMAGES, grey
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

from workbook.networks import resnet18

WEIGHTS = torch.load(DATA / "resnet18_thin.pth")
LABELS = ["Cut behind", "Put there", "Classes", "Image"]
LINEAR = "a new Linear"
REST = "the rest, with a new head"
TWO = "the rest, with a new head, for each of two tasks"
ORDER = ("conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
POOLED = {
    "maxpool": 20 * 16,
    "layer1": 20 * 16,
    "layer2": 40 * 16,
    "layer3": 80 * 16,
    "layer4": 160 * 4,
    "avgpool": 160,
}


def parameters(*layers: str) -> int:
    """How many numbers the checkpoint has for these layers, buffers left out."""
    is_buffer = ("running_mean", "running_var", "num_batches_tracked")
    return sum(t.numel() for key, t in WEIGHTS.items() if key.split(".")[0] in layers and not key.endswith(is_buffer))


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("05_replace_the_head.ipynb", to="widgets.CutAndGraft(")


@pytest.fixture
def graft(lesson: Lesson) -> Interactive:
    shown = lesson.interactive("cut and graft")
    choose(shown, "avgpool", LINEAR, 0)
    expect(shown.view).to_contain_text("up to avgpool")
    expect(shown.view).to_contain_text("of 160 numbers")
    return shown


def choose(shown: Interactive, cut: str, what: str, image: int) -> None:
    shown.control("Cut behind").select_option(cut)
    shown.control("Put there").select_option(what)
    shown.control("Image").select_option(index=image)


def test_all_controls_have_names(graft) -> None:
    assert graft.labels() == LABELS


@pytest.mark.parametrize(
    ("cut", "what"), [("layer2", LINEAR), ("layer4", LINEAR), ("maxpool", REST), ("layer3", TWO), ("avgpool", TWO)]
)
def test_it_counts_what_the_checkpoint_has(graft, cut, what) -> None:
    place = ORDER.index(cut) + 1
    trunk, rest = parameters(*ORDER[:place]), parameters(*ORDER[place:])
    tasks = {LINEAR: 0, REST: 1, TWO: 2}[what]
    new = (POOLED[cut] + 1) * 10 if what == LINEAR else tasks * 161 * 10
    kept = trunk + tasks * rest
    choose(graft, cut, what, 0)
    expect(graft.view).to_contain_text(f"up to {cut}")
    expect(graft.view).to_contain_text(f"{kept / (kept + new):.1%} of the new network's {kept + new:,} parameters")
    gone = parameters("fc") + (rest if what == LINEAR else 0)
    expect(graft.view).to_contain_text(f"{gone:,} of the old network's {parameters(*ORDER, 'fc'):,} are gone")
    assert graft.row(f"up to {cut}")[2] == f"{trunk:,}"


def test_the_maps_are_those_of_the_image(graft) -> None:
    choose(graft, "layer1", LINEAR, 5)
    expect(graft.view).to_contain_text("16 of its 20 maps of 16 x 16")
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    model = resnet18(width=0.3125).eval()
    model.load_state_dict(WEIGHTS)
    x = F.interpolate(torch.tensor(IMAGES[5])[None].float() / 255, (64, 64), mode="bilinear")
    with torch.no_grad():
        maps = model.layer1(model.maxpool(model.relu(model.bn1(model.conv1((x - mean) / std)))))[0]
    limit = torch.quantile(maps.abs(), 0.98).item()
    expect(graft.view).to_contain_text(f"white {limit:.2g} or more")
    drawn = graft.pictures()[1]
    for channel, row, column in ((0, 3, 5), (7, 15, 0), (15, 8, 12)):
        pixel = int(drawn[3 * row + 1, channel * 52 + 3 * column + 1, 0])
        assert abs(pixel - grey(maps[channel, row, column].item(), limit)) <= 1


def test_it_works_by_keyboard(lesson, graft) -> None:
    cells = lesson.cells()
    graft.control("Cut behind").focus()
    graft.expect_change(lambda: lesson.press("ArrowUp"))
    expect(graft.view).to_contain_text("up to layer4")
    lesson.press("Tab", "ArrowDown")
    expect(graft.view).to_contain_text("99.9% of the new network's 1,097,150 parameters")  # nothing is new but 10 rows
    lesson.press("Tab", "ArrowRight")
    expect(graft.view).to_contain_text("a new head for 11 classes")
    lesson.press("ArrowLeft")
    expect(graft.view).to_contain_text("a new head for 10 classes")
    lesson.press("Escape", "d", "d")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, graft) -> None:
    choose(graft, "layer3", TWO, 0)
    expect(graft.view).to_contain_text("of task 2")
    lesson.expect_readable(graft)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("05_replace_the_head.ipynb").expect_still("cut and graft", "up to avgpool")
