"""`load_checkpoint`: all of it or nothing, whatever the file is."""

import copy
import os
import random

import numpy as np
import pytest
import torch
from torch import nn

from helpers.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from helpers.modes import keep_in_eval_, names_in_eval


def made(number: int, out: int = 7, kind: type = torch.optim.AdamW):
    torch.manual_seed(number)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, out))
    optimizer = kind(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    model(torch.randn(3, 4)).square().sum().backward()
    optimizer.step()
    scheduler.step()
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def everything(parts) -> dict:
    return copy.deepcopy(
        {
            "states": [part.state_dict() for part in parts.values()],
            "grads": [parameter.requires_grad for parameter in parts["model"].parameters()],
            "modes": [module.training for module in parts["model"].modules()],
            "in_eval": names_in_eval(parts["model"]),
            "random": [torch.get_rng_state(), *np.random.get_state()[1:], random.getstate()],  # noqa: NPY002
        }
    )


def assert_equal(found, expected) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.fixture
def path(tmp_path):
    return save_checkpoint(tmp_path / "a.pt", epoch=3, note="x", **made(0))


def test_all_comes_back_into_the_same_parameters(path) -> None:
    saved, parts = made(0), made(1)
    before = list(parts["model"].parameters())
    found = load_checkpoint(path, **parts)
    assert (found.epoch, found.extra, found.notes) == (3, {"note": "x"}, ())
    assert_equal(everything(parts)["states"], everything(saved)["states"])
    assert all(a is b for a, b in zip(before, parts["model"].parameters(), strict=True))
    assert load_checkpoint(path, model=made(1)["model"]).notes[0] == "the optimizer in the file was not asked for"
    path.write_bytes(bytes(path.stat().st_size))  # nothing may share the file's memory
    assert_equal(everything(parts)["states"], everything(saved)["states"])


def test_frozen_layers_come_back(tmp_path) -> None:
    parts, other = made(0), made(1)
    keep_in_eval_(parts["model"][1])
    parts["model"][0].requires_grad_(False)
    parts["model"][2].eval()
    keep_in_eval_(other["model"][2])
    load_checkpoint(save_checkpoint(tmp_path / "a.pt", **parts), **other)
    for key in ("grads", "modes", "in_eval"):
        assert everything(other)[key] == everything(parts)[key]
    other["model"].train()
    assert [module.training for module in other["model"]] == [True, False, True]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "is an empty file"),
        (
            lambda path: path.write_text("once upon a time " * 20),
            "no checkpoint that torch.save wrote|of a kind unknown here",
        ),
        (
            lambda path: torch.save(made(0)["model"].state_dict(), path),
            "not written by save_checkpoint.*load_state_dict",
        ),
        (
            lambda path: torch.save({"model": made(0)["model"].state_dict(), "epoch": 3}, path),
            r"it holds model \(OrderedDict\), epoch \(int\)\. If the weights are in it, load them",
        ),
        (lambda path: torch.save([1], path), "holds a list"),
        (lambda path: torch.save({"x": Evil()}, path), r"asks (to call|for) posix\.mkdir, .* attack"),
        (lambda path: torch.save({**torch.load(path), "version": 2}, path), "version 2 .* reads up to 1: update"),
        (lambda path: torch.save({**torch.load(path), "random": {}}, path), "random states that cannot be restored"),
        (lambda path: torch.save({**torch.load(path), "modes": 3}, path), "no 'modes', or of a wrong kind"),
        (lambda path: save_checkpoint(path, **made(0, out=6)), r"'2.weight' of a.pt has shape \(6, 5\), .* \(7, 5\)"),
        (lambda path: save_checkpoint(path, model=nn.Linear(4, 5)), "the model has '0.weight'"),
        (lambda path: save_checkpoint(path, model=made(0)["model"]), "a.pt has no optimizer"),
        (lambda path: save_checkpoint(path, **made(0, kind=torch.optim.Adam)), "the optimizer Adam, not AdamW"),
    ],
)
def test_what_does_not_fit_changes_nothing(path, monkeypatch, write, message) -> None:
    monkeypatch.chdir(path.parent)
    write(path)
    parts = made(1)
    before = everything(parts)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, **parts)
    assert_equal(everything(parts), before)
    assert not (path.parent / "executed").exists()


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_cut_off_files_change_nothing(path, share) -> None:
    whole, parts = path.read_bytes(), made(1)
    before = everything(parts)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError):
        load_checkpoint(path, **parts)
    assert_equal(everything(parts), before)


def test_flipped_bytes_are_refused_or_do_no_harm(path) -> None:
    whole, right, parts = path.read_bytes(), made(0), made(1)
    refused, before, expected = 0, everything(parts), everything(right)["states"]
    for place in range(5, len(whole), len(whole) // 150):
        flipped = bytearray(whole)
        flipped[place] ^= 0x41
        path.write_bytes(flipped)
        try:
            load_checkpoint(path, **parts)
        except CheckpointError:
            refused += 1
            assert_equal(everything(parts), before)
        else:
            assert_equal(everything(parts)["states"], expected)
            parts = made(1)
            before = everything(parts)
    assert refused > 100


@pytest.mark.parametrize("where", ["optimizer", "scheduler", "random"])
def test_a_failure_on_the_way_is_undone(path, monkeypatch, where) -> None:
    parts = made(1)
    before = everything(parts)

    def fail(*_) -> None:
        raise RuntimeError("on purpose")

    if where == "random":
        monkeypatch.setattr("helpers.checkpoint.loading.set_random_state", fail)
    else:
        monkeypatch.setattr(type(parts[where]), "load_state_dict", fail)
    with pytest.raises(CheckpointError, match=r"could not be restored .on purpose.; everything is as it was"):
        load_checkpoint(path, **parts)
    assert_equal(everything(parts), before)
