"""Lesson 08 beyond its stored outputs: its recipe, and the training that it interrupts."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
from lesson import recipe_of, run_usage

from helpers.checkpoint import load_checkpoint
from workbook.example_training import PARTS, SEEDS, STEPS, Training, new_training, resumed, steps
from workbook.places import WORKBOOK

NOTEBOOK = "08_save_and_resume_without_losing_anything.ipynb"


@pytest.fixture
def recipe() -> dict:
    namespace: dict = {}
    exec(recipe_of(NOTEBOOK, "save"), namespace)
    return namespace


def parts_of(training: Training) -> dict:
    """As the recipe takes them."""
    parts = {"model": training.model, "optimizer": training.optimizer, "scheduler": training.scheduler}
    return parts | {"order": training.batches.loader.generator}


def train_until_after(epoch: int, at_its_end: Callable[[Training], object]) -> None:
    """Train from the beginning, and call this when so many epochs are done and the scheduler has stepped."""
    training = new_training()
    step = training.scheduler.step

    def and_then() -> None:
        step()
        if training.scheduler.last_epoch == epoch:
            del training.scheduler.step  # its state would have this function
            at_its_end(training)

    training.scheduler.step = and_then
    list(steps(training))


@pytest.mark.parametrize("forgotten", [None, "model", "optimizer", "scheduler", "order"])
def test_with_the_recipe_a_training_goes_on_as_in_peace(recipe, tmp_path, peace, forgotten) -> None:
    path, later = tmp_path / "run.pt", new_training(1)
    train_until_after(1, lambda training: recipe["save"](path, parts_of(training), 1))
    assert [place.name for place in tmp_path.iterdir()] == ["run.pt"]
    wanted = {name: part for name, part in parts_of(later).items() if name != forgotten}
    assert recipe["load"](path, wanted) == 1
    losses = list(steps(later, 1))
    assert (losses == peace[0][5:]) == (forgotten is None)
    assert torch.equal(later.numbers(), peace[1]) == (forgotten is None)


@pytest.mark.parametrize("name", ["torch", "numpy", "python"])
def test_the_recipe_restores_all_random_states(recipe, tmp_path, name) -> None:
    draw = {"torch": lambda: torch.rand(2).tolist(), "numpy": np.random.rand, "python": random.random}[name]
    recipe["save"](tmp_path / "run.pt", {}, 0)
    before = draw()
    SEEDS[name](99)
    recipe["load"](tmp_path / "run.pt", {})
    assert draw() == before


def test_the_recipe_flushes_before_it_renames_and_keeps_the_old_file_on_an_error(recipe, tmp_path, monkeypatch) -> None:
    path, sizes = tmp_path / "run.pt", []
    recipe["save"](path, {"layer": torch.nn.Linear(3, 2)}, 1)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append((os.fstat(file).st_size, path.read_bytes() == before)))
    recipe["save"](path, {"layer": torch.nn.Linear(300, 200)}, 2)
    assert sizes == [(path.stat().st_size, True)]
    after = path.read_bytes()

    class Unwritable:
        def state_dict(self) -> dict:
            return {"function": lambda: None}

    with pytest.raises(Exception, match="pickle"):
        recipe["save"](path, {"part": Unwritable()}, 3)
    assert path.read_bytes() == after
    assert [place.name for place in tmp_path.iterdir()] == ["run.pt"]


def test_the_recipe_compares_checksums(recipe, tmp_path) -> None:
    path, layer = tmp_path / "run.pt", torch.nn.Linear(300, 200)
    recipe["save"](path, {"layer": layer}, 1)
    content = path.read_bytes()
    place = content.index(layer.weight.detach().numpy().tobytes()) + 1000
    flipped = bytearray(content)
    flipped[place] ^= 1
    path.write_bytes(flipped)
    other = torch.nn.Linear(300, 200)
    before = other.weight.detach().clone()
    with pytest.raises(ValueError, match=r"the checksum of .* does not hold"):
        recipe["load"](path, {"layer": other})
    path.write_bytes(content[:-500])
    with pytest.raises(ValueError, match="is cut short"):
        recipe["load"](path, {"layer": other})
    assert torch.equal(other.weight, before)


def test_the_recipe_looks_at_all_parts_before_it_changes_one(recipe, tmp_path) -> None:
    path = tmp_path / "run.pt"

    def parts(classes: int, count: int) -> dict:
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, classes))
        return {"model": model, "optimizer": torch.optim.Adam(list(model.parameters())[:count])}

    recipe["save"](path, parts(5, 6), 1)
    cases = {
        "with another model": parts(7, 6),
        "with another optimizer": parts(5, 4),
        "has no 'scheduler'": parts(5, 6) | {"scheduler": None},
        "saved with another model": parts(5, 6) | {"model": parts(5, 6)["model"].half()},
        "optimizer was Adam, not RAdam": parts(5, 6)
        | {"optimizer": torch.optim.RAdam(parts(5, 6)["model"].parameters())},
    }
    for message, wrong in cases.items():
        before = {key: tensor.clone() for key, tensor in wrong["model"].state_dict().items()}
        states = random.getstate(), torch.get_rng_state()
        with pytest.raises(ValueError, match=message):
            recipe["load"](path, wrong)
        assert all(torch.equal(tensor, before[key]) for key, tensor in wrong["model"].state_dict().items())
        assert random.getstate() == states[0]
        assert torch.equal(torch.get_rng_state(), states[1])
    assert recipe["load"](path, {"model": parts(5, 6)["model"]}) == 1  # for an evaluation


def test_the_recipe_keeps_the_old_file_if_it_could_not_read_the_new_one(recipe, tmp_path) -> None:
    path, layer = tmp_path / "run.pt", torch.nn.Linear(3, 2)
    parts = {"optimizer": torch.optim.SGD(layer.parameters(), lr=0.1)}
    recipe["save"](path, parts, 1)
    parts["optimizer"].param_groups[0]["lr"] = np.float64(0.01)
    with pytest.raises(pickle.UnpicklingError):
        recipe["save"](path, parts, 2)
    assert recipe["load"](path, parts) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


def test_the_recipe_writes_through_a_link(recipe, tmp_path) -> None:
    link, path = tmp_path / "last.pt", tmp_path / "run.pt"
    path.touch()
    link.symlink_to(path)
    recipe["save"](link, {}, 7)
    assert link.is_symlink()
    assert recipe["load"](path, {}) == 7


def test_the_comments_of_the_recipe_work_when_uncommented(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace = {
        'torchvision.models.resnet18(weights="IMAGENET1K_V1")': "resnet18()",
        "range(begin, 30)": "range(begin, 2)",
    }
    for begin in (0, 2):
        made = run_usage(recipe_of(NOTEBOOK, "save"), replace, resnet18=torchvision.models.resnet18)
        assert made["begin"] == begin
    assert torch.load("run.pt")["parts"].keys() == {"model", "optimizer", "scheduler", "order"}


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
