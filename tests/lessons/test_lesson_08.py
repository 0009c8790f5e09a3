"""Lesson 08 beyond its stored outputs: its recipe, and the training that it interrupts."""

import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch
import torchvision
from lesson import recipe_of, run_usage

from helpers.checkpoint import load_checkpoint
from workbook.example_training import PARTS, STEPS, new_training, resumed, steps
from workbook.places import WORKBOOK

NOTEBOOK = "08_save_and_resume_without_losing_anything.ipynb"


@pytest.fixture
def recipe() -> dict:
    namespace: dict = {}
    exec(recipe_of(NOTEBOOK, "save"), namespace)
    return namespace


def test_the_recipe_saves_and_loads(recipe, tmp_path) -> None:
    path = tmp_path / "run.pt"
    for number in (1.0, 2.0):
        recipe["save"]({"numbers": torch.full((2, 3), number)}, path)
    assert torch.equal(recipe["load"](path)["numbers"], torch.full((2, 3), 2.0))
    assert [place.name for place in tmp_path.iterdir()] == ["run.pt"]


def test_the_recipe_flushes_before_it_renames_and_keeps_the_old_file_on_an_error(recipe, tmp_path, monkeypatch) -> None:
    path, sizes = tmp_path / "run.pt", []
    recipe["save"]({"numbers": torch.zeros(70_000)}, path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append((os.fstat(file).st_size, path.read_bytes() == before)))
    recipe["save"]({"numbers": torch.ones(80_000)}, path)
    assert sizes == [(path.stat().st_size, True)]
    after = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        recipe["save"]({"function": lambda: None}, path)
    assert path.read_bytes() == after


def test_the_recipe_compares_checksums(recipe, tmp_path) -> None:
    path = tmp_path / "run.pt"
    recipe["save"]({"numbers": torch.zeros(10_000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the checksum of .* does not hold"):
        recipe["load"](path)
    path.write_bytes(content[:-500])
    with pytest.raises(zipfile.BadZipFile):
        recipe["load"](path)


def test_the_comments_of_the_recipe_work_when_uncommented(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace = {'torchvision.models.resnet18(weights="IMAGENET1K_V1")': "resnet18()"}
    made = run_usage(recipe_of(NOTEBOOK, "save"), replace, resnet18=torchvision.models.resnet18)
    assert sorted(made["content"]) == ["epoch", "model", "optimizer", "scheduler", "torch"]
    assert (tmp_path / "run.pt").is_file()


@pytest.fixture(scope="module")
def peace() -> tuple[list[float], torch.Tensor]:
    training = new_training()
    return list(steps(training)), training.numbers()


@pytest.mark.parametrize("stop", range(1, STEPS))
def test_a_training_goes_on_from_each_step(stop, peace) -> None:
    losses, numbers = resumed(stop, set(PARTS))
    assert losses == peace[0][stop:]
    assert torch.equal(numbers, peace[1])


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler:UserWarning")
def test_what_the_lesson_says_can_be_forgotten(peace) -> None:
    same = {
        part: [stop for stop in range(1, STEPS) if torch.equal(resumed(stop, set(PARTS) - {part})[1], peace[1])]
        for part in PARTS
    }
    assert same.pop("scheduler") == [1, 2, 3, 4, 5, 11, 12, 13, 14]
    assert not any(same.values()), same


def test_the_program_is_killed_again_and_again_and_ends_as_in_peace(tmp_path, peace) -> None:
    path, log = tmp_path / "run.pt", tmp_path / "losses.txt"
    command = [sys.executable, "-m", "workbook.example_training", path, log]
    for lines in (2, 6):
        child = subprocess.Popen(command, cwd=WORKBOOK)
        while child.poll() is None and (not log.exists() or log.read_text().count("\n") < lines):
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    subprocess.run(command, cwd=WORKBOOK, check=True)
    training = new_training(1)
    assert load_checkpoint(path, **training.parts()).epoch == 3
    assert torch.equal(training.numbers(), peace[1])
    losses = [float(line) for line in log.read_text().split()]
    assert losses[-1] == peace[0][-1]
    assert [loss for loss in peace[0] if loss in losses] == losses
