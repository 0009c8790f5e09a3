"""Which of several things in a checkpoint are read, files in pieces, and objects of classes that are not here."""

import argparse
import collections
import enum
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch._weights_only_unpickler import Unpickler

from helpers.state_dict import StateDictError, load_without_copying, read_state_dict


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))


def save(path, content, legacy: bool = False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_equal(found, expected) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_key_chooses_the_nest(tmp_path) -> None:
    one, average = net().state_dict(), net().state_dict()
    path = save(
        tmp_path / "a.pth",
        {
            "epoch": 3,
            "model": one,
            "ema": {"shadow": average},
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
        },
    )
    found = read_state_dict(path)
    assert_equal(found, one)
    assert found.notes == ("unwrapped 'model'; beside it: epoch, ema, optimizer (key='ema' takes the tensors there)",)
    assert_equal(read_state_dict(path, key="ema.shadow"), average)
    assert read_state_dict(path, key="ema.shadow").notes == ("took what lies under 'ema.shadow'",)
    with pytest.raises(
        StateDictError, match=r"no tensors under 'emma'; 'model' \(11 tensors\), 'ema' \(in it shadow\)"
    ):
        read_state_dict(path, key="emma")
    with pytest.raises(StateDictError, match="has no tensors by name; it holds shadow"):
        read_state_dict(path, key="ema")


def test_the_only_nest_is_taken_whatever_its_name(tmp_path) -> None:
    found = read_state_dict(save(tmp_path / "a.pth", {"loss": 0.5, "weights_of_epoch_3": net().state_dict()}))
    assert len(found) == 11
    assert found.notes == ("unwrapped 'weights_of_epoch_3'; beside it: loss",)


def test_a_loss_that_is_a_tensor_does_not_hide_the_nest(tmp_path) -> None:
    content = {"best_acc1": torch.tensor(76.1), "weights": net().state_dict()}
    assert_equal(read_state_dict(save(tmp_path / "a.pth", content)), content["weights"])


def test_a_name_with_a_dot_goes_before_a_path(tmp_path) -> None:
    path = save(tmp_path / "a.pth", {"a.b": {"w": torch.ones(2)}, "a": {"b": {"w": torch.zeros(2)}}})
    assert read_state_dict(path, key="a.b")["w"].tolist() == [1, 1]


@pytest.mark.parametrize("legacy", [False, True])
def test_a_dictionary_in_itself_ends(tmp_path, legacy) -> None:
    content = {"w": torch.ones(2)}
    content["self"] = content
    found = read_state_dict(save(tmp_path / "a.pth", content, legacy))
    assert list(found) == ["w"]
    deep = {"x": torch.ones(2)}
    for _ in range(200):
        deep = {"state_dict": deep}
    with pytest.raises(StateDictError, match="8 dictionaries in one another were looked into"):
        read_state_dict(save(tmp_path / "b.pth", deep, legacy))


def test_one_dictionary_under_two_names_is_one(tmp_path) -> None:
    weights = {"w": torch.ones(2)}
    assert read_state_dict(save(tmp_path / "a.pth", {"a": weights, "b": weights}))["w"].tolist() == [1, 1]


def test_a_key_that_is_no_name_is_refused(tmp_path) -> None:
    with pytest.raises(StateDictError, match="key is a name, not a int"):
        read_state_dict(save(tmp_path / "a.pth", {"a": {"w": torch.ones(2)}}), key=3)


def test_another_protocol_is_named(tmp_path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth", pickle_protocol=4)
    with pytest.raises(StateDictError, match="pickle protocol above 2"):
        read_state_dict(tmp_path / "a.pth")


def test_names_that_would_be_one_are_refused(tmp_path) -> None:
    path = save(tmp_path / "a.pth", {1: torch.ones(2), "1": torch.zeros(2)})
    with pytest.raises(StateDictError, match="twice, as a number and as text"):
        read_state_dict(path)
    found = read_state_dict(save(tmp_path / "b.pth", {0: torch.ones(2), 1: torch.zeros(3)}))
    assert list(found) == ["0", "1"]
    assert found.notes == ("names were made from numbers: 0, 1",)


# files that are no plain zip files


def zipped_again(path, target, compression) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("verify", [True, False])
def test_a_checkpoint_that_was_zipped_again_is_read_rightly(tmp_path, compression, verify) -> None:
    source = net().state_dict()
    zipped_again(save(tmp_path / "a.pth", source), tmp_path / "b.pth", compression)
    assert_equal(read_state_dict(tmp_path / "b.pth", verify=verify), source)


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path) -> None:
    save(tmp_path / "a.pth", {"w": torch.zeros(2_000_000)})
    zipped_again(tmp_path / "a.pth", tmp_path / "b.pth", zipfile.ZIP_DEFLATED)
    with pytest.raises(StateDictError, match="and unpacks to"):
        read_state_dict(tmp_path / "b.pth", verify=False)


def test_a_pipe_is_named_and_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(StateDictError, match="no regular file, but a pipe or a device"):
        read_state_dict(tmp_path / "a.pth")


# shards


def in_shards(folder, source, names=("a.safetensors", "b.safetensors"), writer=safetensors.torch.save_file):
    keys = list(source)
    parts = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    for name, part in zip(names, parts, strict=True):
        writer({key: source[key].clone() for key in part}, folder / name)
    weight_map = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


@pytest.mark.parametrize("writer", [safetensors.torch.save_file, torch.save])
def test_shards_are_one_checkpoint_with_one_decision_on_prefixes(tmp_path, writer) -> None:
    source = {f"model.{key}": t for key, t in net().state_dict().items()} | {"lm_head.weight": torch.ones(3, 2)}
    in_shards(tmp_path, source, writer=writer)
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        assert_equal(dict(sorted(read_state_dict(path).items())), dict(sorted(source.items())))
    only = {key: t for key, t in source.items() if key != "lm_head.weight"}
    in_shards(tmp_path, only, writer=writer)
    assert set(read_state_dict(tmp_path)) == set(net().state_dict())


def change(folder, **changes: str) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] |= changes
    path.write_text(json.dumps(index))


def write_index(folder, text: str, name: str = "model") -> None:
    (folder / f"{name}.safetensors.index.json").write_text(text)


NO_FILE = "which is no file in its folder"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: change(folder, **{"0.weight": "b.safetensors"}), "has (no )?'0.weight', which"),
        (lambda folder: change(folder, extra="a.safetensors"), "a.safetensors has no 'extra', which .* lists there"),
        (lambda folder: change(folder, extra="../c.safetensors"), NO_FILE),
        (lambda folder: change(folder, extra="/etc/passwd"), NO_FILE),
        (lambda folder: change(folder, extra="x" * 5000), f"names 'x{{255}}', {NO_FILE}"),
        (lambda folder: change(folder, extra="ä" * 200), NO_FILE),
        (lambda folder: change(folder, extra="a\0b"), NO_FILE),
        (lambda folder: change(folder, extra="\ud800"), NO_FILE),
        (lambda folder: change(folder, extra="c.safetensors"), "names c.safetensors, which is not there"),
        (lambda folder: (folder / "b.safetensors").unlink(), "names b.safetensors, which is not there"),
        (lambda folder: (folder / "a.safetensors").write_text("words"), "a.safetensors is of a kind unknown"),
        (lambda folder: write_index(folder, '{"weight_map": {}}', "other"), "has model.safetensors.index.json, other"),
        (lambda folder: write_index(folder, '{"weight_map": 3}'), "no index of shards, or damaged"),
        (lambda folder: write_index(folder, '{"weight_map": {"a": "x", "a": "y"}}'), "a name stands in it twice"),
    ],
)
def test_folders_that_are_not_whole_are_refused(tmp_path, spoil, message) -> None:
    in_shards(tmp_path, net().state_dict())
    spoil(tmp_path)
    with pytest.raises(StateDictError, match=message):
        read_state_dict(tmp_path)


def test_a_folder_with_one_checkpoint_is_that_checkpoint(tmp_path) -> None:
    source = net().state_dict()
    with pytest.raises(StateDictError, match="a folder without a checkpoint"):
        read_state_dict(tmp_path)
    (tmp_path / "config.json").write_text('{"layers": 3}')
    save(tmp_path / "pytorch_model.bin", source)
    assert_equal(read_state_dict(tmp_path), source)
    save(tmp_path / "optimizer.pt", source)
    with pytest.raises(StateDictError, match="several checkpoints"):
        read_state_dict(tmp_path)


def test_shards_become_a_model_without_copying(tmp_path) -> None:
    source = net()
    in_shards(tmp_path, source.state_dict())
    assert_equal(load_without_copying(net, tmp_path).state_dict(), source.state_dict())


# stand-ins


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_beside_foreign_objects_are_read_by_stand_ins(tmp_path, legacy) -> None:
    source = net().state_dict()
    content = {
        "state_dict": source,
        "args": argparse.Namespace(lr=0.1, nested=argparse.Namespace(depth=3)),
        "colour": Colour.RED,
        "history": collections.defaultdict(list, {"loss": [0.5]}),
    }
    path = save(tmp_path / "a.pth", content, legacy)
    with pytest.raises(StateDictError, match=r"stand_ins=True"):
        read_state_dict(path)
    found = read_state_dict(path, stand_ins=True)
    assert_equal(found, source)
    assert "argparse.Namespace" in found.notes[-1]


class Slotted:
    __slots__ = ("lr",)


class Listed(list):
    """Things are appended to it while it is read."""


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        np.float64(3),
        np.arange(3),
        {"deep": [np.ones((2, 3))]},
        Listed([1, 2]),
        collections.deque([1, 2]),
        "slotted",
    ],
)
def test_objects_of_every_make_are_stood_in_for(tmp_path, beside, legacy) -> None:
    if isinstance(beside, str):
        beside = Slotted()
        beside.lr = 0.1
    source = net().state_dict()
    found = read_state_dict(save(tmp_path / "a.pth", {"model": source, "beside": beside}, legacy), stand_ins=True)
    assert_equal(found, source)


def test_a_whole_model_gives_its_tensors_by_name(tmp_path) -> None:
    source = net()
    source.register_buffer("scratch", torch.ones(2), persistent=False)
    source.head = source[2][1]  # one module under two names
    found = read_state_dict(save(tmp_path / "a.pth", {"model": source, "epoch": 2}), stand_ins=True)
    expected = {key: t for key, t in source.state_dict().items() if not key.startswith("head.")}
    assert_equal(found, expected)


@pytest.mark.skipif(not hasattr(Unpickler, "_check_append_target"), reason="of PyTorch 2.14")
def test_a_pytorch_that_appends_to_plain_lists_alone_reads_others_too(tmp_path, monkeypatch) -> None:
    def refuse(self, found) -> None:
        if type(found) is not list:
            raise pickle.UnpicklingError(f"Can only extend lists, but got {type(found)}")

    monkeypatch.setattr(Unpickler, "_check_append_target", refuse)
    for beside in (Listed([1, 2]), collections.deque([3, 4, 5])):
        path = save(tmp_path / "a.pth", {"beside": beside, "model": net().state_dict()})
        assert list(read_state_dict(path, stand_ins=True)) == list(net().state_dict())


def test_a_whole_model_in_the_older_format_says_what_to_do(tmp_path) -> None:
    path = save(tmp_path / "a.pth", net(), legacy=True)
    with pytest.raises(StateDictError, match=r"a whole model in PyTorch's older format.* save its state_dict"):
        read_state_dict(path, stand_ins=True)


def test_a_mapping_of_a_foreign_class_is_looked_into(tmp_path) -> None:
    class Easy(dict):
        pass

    Easy.__module__, Easy.__qualname__ = __name__, "Easy"
    globals()["Easy"] = Easy
    path = save(tmp_path / "a.pth", Easy(state_dict=net().state_dict(), lr=0.1))
    assert len(read_state_dict(path, stand_ins=True)) == 11


class Payload:
    def __init__(self, call) -> None:
        self.call = call

    def __reduce__(self):
        return self.call


def marks(tmp_path) -> list[tuple]:
    """Calls that would leave a file behind if they ran."""
    mark = str(tmp_path / "executed")
    return [
        (os.mkdir, (mark,)),
        (os.system, (f"touch {mark}",)),
        (eval, (f"open({mark!r}, 'w')",)),
        (exec, (f"open({mark!r}, 'w')",)),
        (getattr, ("text", "upper")),
        (open, (mark, "w")),
        (__import__, ("os",)),
    ]


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("stand_ins", [False, True])
def test_nothing_runs_with_or_without_stand_ins(tmp_path, number, legacy, stand_ins) -> None:
    path = save(tmp_path / "a.pth", {"w": torch.ones(2), "x": Payload(marks(tmp_path)[number])}, legacy)
    before = sorted(tmp_path.iterdir())
    if stand_ins and number == 4:  # getattr alone is in honest files, too; its stand-in does nothing
        assert list(read_state_dict(path, stand_ins=True)) == ["w"]
    else:
        with pytest.raises(StateDictError, match="stand_ins=True" if number == 4 else "it is an attack"):
            read_state_dict(path, stand_ins=stand_ins)
    assert sorted(tmp_path.iterdir()) == before


def test_subprocesses_and_hubs_are_called_attacks(tmp_path) -> None:
    import shutil
    import subprocess

    for call in (subprocess.Popen, shutil.rmtree, torch.hub.load):
        path = save(tmp_path / "a.pth", {"w": torch.ones(2), "x": Payload((call, ("nothing",)))})
        with pytest.raises(StateDictError, match="it is an attack"):
            read_state_dict(path, stand_ins=True)


def test_stand_ins_are_not_needed_and_leave_no_trace(tmp_path) -> None:
    source, before = net().state_dict(), set(torch.serialization.get_safe_globals())
    found = read_state_dict(save(tmp_path / "a.pth", source), stand_ins=True)
    assert_equal(found, source)
    assert found.notes == ()
    read_state_dict(save(tmp_path / "b.pth", {"w": torch.ones(2), "x": argparse.Namespace()}), stand_ins=True)
    assert set(torch.serialization.get_safe_globals()) == before
