"""Lesson 02 beyond its stored outputs: its recipe."""

import argparse
import pickle
from collections.abc import Callable

import pytest
import torch
import torchvision
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.state_dict import read_state_dict
from workbook.data import DATA
from workbook.networks import vgg16

NOTEBOOK = "02_load_all_of_a_state_dict.ipynb"


@pytest.fixture
def recipe() -> Callable:
    return defined(recipe_of(NOTEBOOK, "load_checkpoint"), "load_checkpoint")


@pytest.mark.parametrize("legacy", [False, True])
def test_the_recipe_reads_what_the_helper_reads(recipe, tmp_path, legacy) -> None:
    plain = torch.load(DATA / "vgg16_thin.pth")
    wrappings = [
        plain,
        {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in plain.items()}},
        {"model_state_dict": {"model": {f"module._orig_mod.model.{key}": tensor for key, tensor in plain.items()}}},
        {"model": {"model_state_dict": {f"_orig_mod.module.{key}": tensor for key, tensor in plain.items()}}},
    ]
    for wrapped in wrappings:
        path = tmp_path / "a.pth"
        torch.save(wrapped, path, _use_new_zipfile_serialization=not legacy)
        model = vgg16()
        assert recipe(model, path) is model
        assert all(torch.equal(tensor, read_state_dict(path)[key]) for key, tensor in model.state_dict().items())


def test_the_recipe_refuses_damage_and_what_does_not_fit(recipe, tmp_path) -> None:
    data = bytearray((DATA / "vgg16_thin.pth").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ValueError, match=r"the checksum of .* does not hold"):
        recipe(vgg16(), tmp_path / "a.pth")
    with pytest.raises(RuntimeError, match="size mismatch"):
        recipe(vgg16(7), DATA / "vgg16_thin.pth")


def test_the_recipe_keeps_the_versions_of_modules(recipe, tmp_path) -> None:
    source, model = torchvision.models.mnasnet0_5(num_classes=7), torchvision.models.mnasnet0_5(num_classes=7)
    torch.save({"state_dict": nn.DataParallel(source).state_dict()}, tmp_path / "a.pth")
    recipe(model, tmp_path / "a.pth")  # it asks for its version
    assert all(torch.equal(tensor, source.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_the_messages_of_the_table(tmp_path) -> None:
    whole = (DATA / "vgg16_thin.pth").read_bytes()
    path = tmp_path / "a.pth"
    for content, message in (
        (b"<!DOCTYPE html><html>Not Found</html>", "Weights only load failed"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Weights only load failed"),
        (whole[: len(whole) // 2], "failed finding central directory|Invalid argument"),
        (b"", "^$"),  # an EOFError says nothing
    ):
        path.write_bytes(content)
        with pytest.raises(Exception, match=message):
            torch.load(path)
    for content in ({"args": argparse.Namespace(lr=1), "epoch": 3}, nn.Linear(3, 2)):
        torch.save(content, path)
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            torch.load(path)


def test_the_comments_of_the_recipe_work_when_uncommented() -> None:
    replace = {"torchvision.models.vgg16()": "vgg16()", "checkpoint.pth": str(DATA / "vgg16_thin.pth")}
    namespace = run_usage(recipe_of(NOTEBOOK, "load_checkpoint"), replace, vgg16=vgg16)
    assert not namespace["model"].training
