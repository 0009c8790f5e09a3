"""Files that say of their dictionaries, tensors and objects what no `torch.save` says."""

import argparse
import collections

import pytest
import torch
from torch import nn

from helpers.state_dict import StateDictError, load_without_copying, read_state_dict
from helpers.state_dict.reading import load_safely

WEIGHTS = {"weight": torch.arange(6.0).reshape(3, 2), "bias": torch.arange(3.0)}
DAMAGED = r"a\.pth is no checkpoint that torch\.save wrote, or it is damaged"


class Forged:
    """An ordered dictionary with attributes of the file's choice."""

    def __init__(self, content: dict, **attributes: object) -> None:
        self.content, self.attributes = content, attributes

    def __reduce__(self):
        return collections.OrderedDict, (), self.attributes, None, iter(self.content.items())

    def __repr__(self) -> str:
        return f"{self.content} with {self.attributes}"


VERSION = {"version": 1}


@pytest.fixture(params=["zip", "legacy"])
def path(request, tmp_path):
    def save(content):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=request.param == "zip")
        return tmp_path / "a.pth"

    return save


@pytest.mark.parametrize(
    "attributes",
    [
        {"items": 3},
        {"values": torch.ones(2)},
        {"keys": collections.OrderedDict},
        {"get": 3},
        {"_metadata": 3},
        {"_metadata": [1]},
        {"_metadata": {"": 3}},
        {"_metadata": {3: {"version": 1}}},
        {"_metadata": Forged({"": VERSION}, items=3)},
        {"_metadata": {"": Forged(VERSION, get=3)}},
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["outside", "in a nest", "in an object"])
def test_attributes_in_the_place_of_methods_are_refused(path, attributes, where) -> None:
    forged = Forged(WEIGHTS, **attributes)
    content = {"outside": forged, "in a nest": {"model": forged}, "in an object": {"a": argparse.Namespace(b=forged)}}
    found = path(content[where])
    with pytest.raises(StateDictError, match=DAMAGED):
        read_state_dict(found, stand_ins=where == "in an object")
    if where != "in an object":
        for call in (read_state_dict, load_safely, lambda path: load_without_copying(lambda: nn.Linear(2, 3), path)):
            with pytest.raises(StateDictError, match=DAMAGED):
                call(found)


def test_other_attributes_and_true_versions_stay(path) -> None:
    found = read_state_dict(path(Forged(WEIGHTS, _metadata={"": VERSION}, remark="by the way")))
    assert {key: tensor.tolist() for key, tensor in found.items()} == {key: t.tolist() for key, t in WEIGHTS.items()}
    assert found._metadata == {"": VERSION}


@pytest.mark.parametrize("make", [torch.clone, lambda tensor: nn.Parameter(tensor.clone())])
def test_tensors_with_methods_of_their_own_are_refused(path, make) -> None:
    tensor = make(WEIGHTS["weight"])
    tensor.note = "by the way"
    assert list(read_state_dict(path({"weight": tensor}))) == ["weight"]
    tensor.detach = 3
    with pytest.raises(StateDictError, match=DAMAGED + r".*has 'detach' of its own"):
        read_state_dict(path({"weight": tensor}))


class Pickled:
    """What stands for a pickled model."""


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ({"_parameters": [1], "_modules": 3, "w": torch.ones(2)}, None),
        ({"_parameters": {"w": torch.ones(2)}, "_modules": {}, "_non_persistent_buffers_set": 3}, ["w"]),
        ({"_parameters": {"w": torch.ones(2)}, "_modules": {"a": 3, (1, 2): 5}, "_buffers": 7}, ["w"]),
        ({"_parameters": {(1, 2): torch.ones(2), "w": torch.ones(3)}, "_modules": {}}, ["w"]),
    ],
)
def test_models_that_are_none_give_what_tensors_they_have(path, state, names) -> None:
    model = Pickled()
    vars(model).update(state)
    found = path({"model": model})
    if names:
        assert list(read_state_dict(found, stand_ins=True)) == names
    else:
        with pytest.raises(StateDictError, match="has no tensors by name"):
            read_state_dict(found, stand_ins=True)


def test_a_model_in_itself_ends_and_its_order_stays(tmp_path) -> None:
    model = nn.ModuleDict({"b": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)), "a": nn.Linear(4, 5)})
    expected = list(model.state_dict())
    model.a._modules["outer"] = model
    torch.save({"model": model}, tmp_path / "a.pth")
    assert list(read_state_dict(tmp_path / "a.pth", stand_ins=True)) == expected


@pytest.mark.parametrize("prefixes", ["module.", ("",), ("module.", 3), None, 3])
def test_prefixes_are_several_texts(path, prefixes) -> None:
    with pytest.raises(StateDictError, match="prefixes are several texts, of which none is empty"):
        read_state_dict(path({"module.w": torch.ones(2)}), prefixes=prefixes)
