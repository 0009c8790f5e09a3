"""An interrupted training ends with the very same bits; and each state that is left out shows."""

import pytest
import torch
from interrupted import BATCHES, SAVES, Interrupted, fresh, resumable, run, same, seed, uninterrupted
from torch.utils.data import DataLoader

from helpers.checkpoint import CheckpointError, ResumableBatches

MIDDLE, BORDER = BATCHES + 3, BATCHES  # saves: in the second epoch after 3 batches; after the first epoch


def interrupt(path, stop_at: int, **options) -> None:
    with pytest.raises(Interrupted):
        resumable(fresh(**options), path, stop_at)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("shuffling", ["generator", "global", "numpy", "own"])
def test_interrupted_at_every_save_it_ends_with_the_same_bits(tmp_path, optimizer, shuffling) -> None:
    expected = uninterrupted(fresh(optimizer, shuffling))
    for stop_at in range(SAVES):
        path = tmp_path / f"{stop_at}.pt"
        interrupt(path, stop_at, optimizer=optimizer, shuffling=shuffling)
        assert same(resumable(fresh(optimizer, shuffling, number=77), path, stop_at=-1), expected), stop_at


@pytest.mark.parametrize("part", ["optimizer", "scheduler", "batches"])
def test_a_part_that_is_not_loaded_shows(tmp_path, part) -> None:
    interrupt(tmp_path / "a.pt", MIDDLE)
    found = resumable(fresh(number=77), tmp_path / "a.pt", stop_at=-1, **{part: None})
    assert not same(found, uninterrupted(fresh()))


def states_at(number: int) -> dict:
    """Other random states, from the file of another seed's training."""
    seed(number)
    return ResumableBatches(fresh(number=number).loader).state_dict()["now"]


@pytest.mark.parametrize(
    ("stop_at", "where", "kind", "shuffling"),
    [
        *((BORDER, ("random",), kind, "generator") for kind in ("torch", "numpy", "python")),
        (BORDER, ("batches", "now"), "generators", "generator"),
        *((MIDDLE, ("batches", "now"), kind, "generator") for kind in ("torch", "numpy", "python")),
        (MIDDLE, ("batches", "start"), "generators", "generator"),
        (MIDDLE, ("batches", "start"), "torch", "global"),
        (MIDDLE, ("batches", "now"), "numpy", "numpy"),
    ],
)
def test_a_random_state_that_is_not_restored_shows(tmp_path, stop_at, where, kind, shuffling) -> None:
    path = tmp_path / "a.pt"
    interrupt(path, stop_at, shuffling=shuffling)
    content = torch.load(path)
    states = content
    for key in where:
        states = states[key]
    states[kind] = states_at(55)[kind]
    torch.save(content, path)
    found = resumable(fresh(shuffling=shuffling, number=77), path, stop_at=-1)
    assert not same(found, uninterrupted(fresh(shuffling=shuffling)))


def test_a_training_killed_again_and_again_ends_with_the_same_bits(tmp_path) -> None:
    found = run("training", tmp_path)
    assert found["same"]
    assert found["kills"] > 0


def test_workers_are_replayed_too(tmp_path) -> None:
    assert set(run("workers", tmp_path).values()) == {True}


def loader(count: int = 11, **options) -> DataLoader:
    return DataLoader(torch.arange(float(count)), batch_size=2, shuffle=True, **options)


def test_a_break_ends_the_epoch() -> None:
    torch.manual_seed(0)
    batches = ResumableBatches(loader())
    for _ in batches:
        assert batches.position == 1
        break
    state = batches.state_dict()
    assert state["position"] == 0
    again = ResumableBatches(loader())
    again.load_state_dict(state)
    assert len(list(again)) == len(again) == 6


def test_a_loop_left_open_does_not_disturb_the_next_one() -> None:
    batches = ResumableBatches(loader())
    left = iter(batches)
    next(left)
    current = iter(batches)
    next(current)
    next(current)
    left.close()
    assert batches.position == 2


def test_after_the_last_batch_there_are_no_more_and_then_a_whole_epoch() -> None:
    batches = ResumableBatches(loader())
    for _ in batches:
        state = batches.state_dict()
    assert state["position"] == 6
    again = ResumableBatches(loader())
    again.load_state_dict(state)
    assert again.state_dict()["position"] == 6
    assert list(again) == []
    assert again.position == 0
    assert len(list(again)) == 6


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: loader(13), "at batch 3 of 6, and this loader has 7"),
        (
            lambda: loader(generator=torch.Generator()),
            "states of 0 generators, and this loader and its samplers have 1",
        ),
    ],
)
def test_another_loader_is_refused(other, message) -> None:
    batches = iter(mine := ResumableBatches(loader()))
    for _ in range(3):
        next(batches)
    with pytest.raises(CheckpointError, match=message):
        ResumableBatches(other()).load_state_dict(mine.state_dict())


@pytest.mark.parametrize("wrong", [None, 3, "abc", {"a": 1}, iter([1]), (batch for batch in [1])])
def test_what_gives_no_epochs_is_refused(wrong) -> None:
    with pytest.raises(CheckpointError, match="gives no epochs: give a DataLoader"):
        ResumableBatches(wrong)


@pytest.mark.parametrize("state", [None, 3, {}, {"position": 1}, "abc"])
def test_a_state_of_something_else_is_refused(state) -> None:
    with pytest.raises(CheckpointError, match="has no state of a ResumableBatches"):
        ResumableBatches(loader()).load_state_dict(state)
