"""Lesson 02 beyond its stored outputs: its recipe, and its switch to torchvision's ImageNet weights.

Those weights are not here, so a VGG16 of their size with random ones takes their place in the cache.
"""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch
import torchvision
from nbclient import NotebookClient

from helpers.datasets import DATA
from helpers.models import vgg16
from helpers.state_dict import read_state_dict

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks/02_load_state_dict.ipynb"


@pytest.fixture
def source() -> str:
    (source,) = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if "def load_checkpoint" in cell.source]
    return source


@pytest.fixture
def recipe(source) -> Callable:
    namespace = {}
    exec(source, namespace)
    return namespace["load_checkpoint"]


@pytest.mark.parametrize("legacy", [False, True])
def test_the_recipe_reads_what_the_helper_reads(recipe, tmp_path, legacy) -> None:
    plain = torch.load(DATA / "vgg16_thin.pth")
    wrappings = [
        plain,
        {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in plain.items()}},
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
    with pytest.raises(AssertionError, match=r"the checksum of .* does not hold"):
        recipe(vgg16(), tmp_path / "a.pth")
    with pytest.raises(RuntimeError, match="size mismatch"):
        recipe(vgg16(7), DATA / "vgg16_thin.pth")


def test_the_comments_of_the_recipe_work_when_uncommented(source) -> None:
    definition, _, usage = source.partition("# import torchvision\n")
    usage = re.sub("^# ", "", usage, flags=re.M).replace("torchvision.models.vgg16()", "vgg16()")
    namespace = {"vgg16": vgg16}
    exec(definition + usage.replace("checkpoint.pth", str(DATA / "vgg16_thin.pth")), namespace)
    assert not namespace["model"].training


@pytest.mark.slow
def test_the_lesson_runs_on_a_network_of_torchvisions_size(tmp_path, monkeypatch) -> None:
    path = tmp_path / "pretrained-weights-workbook/vgg16-397923af.pth"
    path.parent.mkdir()
    # as the published file is: from before version 1.6
    torch.save(torchvision.models.vgg16().state_dict(), path, _use_new_zipfile_serialization=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (switched,) = [cell for cell in notebook.cells if "\nREAL = False" in cell.source]
    switched.source = switched.source.replace("\nREAL = False", "\nREAL = True")
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    printed = "".join(o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.get("name") == "stdout")
    assert "vgg16-397923af-zip.pth scores" in printed
    assert "32 loaded (100.0% of the parameters)" in printed
