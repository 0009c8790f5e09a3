"""`save_checkpoint`: whatever happens, the file is a whole one."""

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import run
from torch import nn

from helpers.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from helpers.state_dict import read_state_dict


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, (4, 5)), nn.BatchNorm2d(3), nn.Linear(6, 7))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fifty_kills_lose_no_checkpoint_and_leave_nothing_behind(tmp_path) -> None:
    found = run("saves", tmp_path)
    assert found["kills"] == 50
    assert found["lost"] == found["stale"] == 0
    assert found["temporaries"] > 0  # some kills did hit the middle of a save


def test_the_naive_way_loses_it(tmp_path) -> None:
    assert run("naive", tmp_path)["lost"] > 0


def test_the_weights_are_where_read_state_dict_looks(tmp_path) -> None:
    mine = model()
    found = read_state_dict(save_checkpoint(tmp_path / "a.pt", model=mine))
    assert all(torch.equal(found[name], tensor) for name, tensor in mine.state_dict().items())
    assert torch.load(tmp_path / "a.pt", weights_only=True)["format"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float64(3), "wrong is a numpy.float64, .* its item()"),
        ([1, {"a": np.ones(3)}], r"wrong\[1\]\['a'\] is a numpy.ndarray, .* torch.from_numpy"),
        (Path("a"), r"wrong is a pathlib.PosixPath, .* str\(\) of it"),
        (nn.Linear(2, 3), r"its state_dict\(\)"),
        (lambda: 3, "builtins.function"),
        ({np.str_("a"): 1}, "the key .* numpy.str_"),
        (torch.ones(2, device="meta"), "meta device"),
    ],
)
def test_what_could_not_be_read_back_is_refused_before_anything_is_written(tmp_path, value, message) -> None:
    path = save_checkpoint(tmp_path / "a.pt", model=model(), epoch=3)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(path, model=model(), epoch=4, right=1, wrong=value)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.pt"]


@pytest.mark.parametrize("limit", [1, 1500, 3000])
def test_a_full_disk_leaves_the_old_one(tmp_path, limit) -> None:
    path = save_checkpoint(tmp_path / "a.pt", model=model(), epoch=3)
    before, was, handler = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE), signal.SIGXFSZ
    old = signal.signal(handler, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, was[1]))
    try:
        with pytest.raises(CheckpointError, match=r"a.pt cannot be written \(.*File too large\)"):
            save_checkpoint(path, model=model(), epoch=4, keep=1, best=1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(handler, old)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.pt"]


def test_temporaries_of_the_dead_are_cleared_and_those_of_the_living_kept(tmp_path) -> None:
    parent, dead = os.getppid(), 2**22 + 5  # above what Linux gives
    kept = {f".a.pt.{parent}.0.tmp", f".b.pt.{dead}.0.tmp", f".a.pt.{dead}.tmp"}
    for name in {*kept, f".a.pt.{dead}.0.tmp", f".a.pt.{os.getpid()}.99999.tmp"}:
        (tmp_path / name).touch()
    save_checkpoint(tmp_path / "a.pt", model=model())
    assert set(names(tmp_path)) == {*kept, "a.pt"}


def test_the_last_epochs_are_kept(tmp_path) -> None:
    path = tmp_path / "run.v2.pt"
    for epoch in (0, 1, 1, 9, 2):
        save_checkpoint(path, model=model(), epoch=epoch, keep=2)
    assert names(tmp_path) == ["run.v2-epoch2.pt", "run.v2-epoch9.pt", "run.v2.pt"]
    assert load_checkpoint(tmp_path / "run.v2-epoch9.pt", model=model()).epoch == 9


def test_the_best_is_kept_over_restarts(tmp_path) -> None:
    for epoch, score in enumerate([float("nan"), 0.5, 0.7, 0.7, 0.6, float("nan")]):
        save_checkpoint(tmp_path / "run.pt", model=model(), epoch=epoch, best=score)
        assert (tmp_path / "run-best.pt").exists() == (epoch > 0)
    best = load_checkpoint(tmp_path / "run-best.pt", model=model())
    assert (best.epoch, best.score) == (2, 0.7)
    (tmp_path / "run-best.pt").write_text("my notes")
    with pytest.raises(CheckpointError, match=r"run-best\.pt"):
        save_checkpoint(tmp_path / "run.pt", model=model(), epoch=7, best=0.9)
    assert load_checkpoint(tmp_path / "run.pt", model=model()).epoch == 5


def test_without_hard_links_there_are_copies(tmp_path, monkeypatch) -> None:
    def refuse(self, other) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    save_checkpoint(tmp_path / "run.pt", model=model(), best=1.0)
    assert (tmp_path / "run-best.pt").read_bytes() == (tmp_path / "run.pt").read_bytes()
    assert names(tmp_path) == ["run-best.pt", "run.pt"]


def test_a_link_stays_a_link(tmp_path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "last.pt").symlink_to(tmp_path / "runs" / "a.pt")
    save_checkpoint(tmp_path / "last.pt", model=model(), epoch=3)
    assert (tmp_path / "last.pt").is_symlink()
    assert load_checkpoint(tmp_path / "runs" / "a.pt", model=model()).epoch == 3
