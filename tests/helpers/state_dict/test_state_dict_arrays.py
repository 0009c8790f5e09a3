"""Arrays of numpy in the place of tensors: in memory, and in files."""

import pickle
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from helpers.state_dict import (
    StateDictError,
    explain,
    load_matching,
    load_without_copying,
    match_keys,
    read_state_dict,
    suggest_renames,
)
from helpers.state_dict.reading import load_safely

VALUES = [[1.5, -2.0], [3.0, 0.25], [-5.0, 7.0]]  # each of them is one in half precision


def of_fields() -> np.ndarray:
    rows = np.zeros((3, 2), [("key", "i1"), ("weight", "f4")])
    rows["weight"] = VALUES
    return rows["weight"]  # 5 bytes from number to number


def read_only() -> np.ndarray:
    array = np.array(VALUES, "f4")
    array.setflags(write=False)
    return array


ARRAYS = {
    "as it is": np.array(VALUES, "f4"),
    "big-endian": np.array(VALUES, ">f4"),
    "big-endian double": np.array(VALUES, ">f8"),
    "backwards": np.array(VALUES[::-1], "f4")[::-1],
    "right to left": np.array(VALUES, "f4")[:, ::-1].copy()[:, ::-1],
    "by columns": np.array(VALUES, "f4", order="F"),
    "half": np.array(VALUES, "f2"),
    "double": np.array(VALUES, "f8"),
    "read-only": read_only(),
    "of fields": of_fields(),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("nested", [False, True])
def test_arrays_become_tensors_by_the_lines(name, nested) -> None:
    given: dict = {"weight": ARRAYS[name], "bias": torch.arange(3.0), "epoch": 7}
    if nested:
        given = {"averaged": given, "lr": np.float64(0.1)}
    model = nn.Linear(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explanation = explain(model, given)
        assert explanation.reach == "Tried on a copy, the last line loads everything."
        exec(explanation.fix, {"model": model, "state_dict": given})
    assert model.weight.tolist() == VALUES
    assert model.bias.tolist() == [0, 1, 2]


@pytest.mark.parametrize("call", [load_matching, match_keys, suggest_renames])
def test_what_takes_only_tensors_says_who_makes_them(call) -> None:
    model, given = nn.Linear(2, 3), {"weight": ARRAYS["big-endian"], "bias": np.arange(3.0)}
    with pytest.raises(StateDictError, match="'weight' is an array of numpy and no tensor: explain"):
        call(model, given)
    lines = {"model": model, "state_dict": given}
    exec(explain(model, given).fix, lines)
    call(model, lines["state_dict"])


def test_an_archive_of_numpy_is_a_state_dict_of_arrays(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", weight=ARRAYS["big-endian"], bias=np.arange(3.0))
    model = nn.Linear(2, 3)
    with np.load(tmp_path / "a.npz") as given:
        exec(explain(model, given).fix, {"model": model, "state_dict": given})
    assert model.weight.tolist() == VALUES


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array(VALUES, np.longdouble), r"weight \(float128: take its astype\('float64'\)\)"),
        (np.array(VALUES, object), r"weight \(object\)"),
        (np.zeros((3, 2), [("a", "f4")]), r"weight \(\[\('a', '<f4'\)\]\)"),
        (np.array(VALUES).astype(str), r"weight \(<U32\)"),
        (np.ma.masked_array(VALUES, np.array(VALUES) > 4), r"weight \(masked: take its filled\(0\)\)"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_arrays_that_no_tensor_can_hold_are_named(array, said) -> None:
    causes = "\n".join(explain(nn.Linear(2, 3), {"weight": array, "bias": torch.ones(3)}).causes)
    assert re.search(f"No tensor can hold what these arrays of numpy do: {said}", causes)
    assert re.search(f"No tensor can hold .* {said}", "\n".join(explain(nn.Linear(2, 3), {"weight": array}).causes))


@pytest.mark.parametrize("array", [np.array(VALUES, np.longdouble), np.ma.masked_array(VALUES, np.zeros((3, 2)))])
def test_the_ways_out_are_ones(array) -> None:
    way_out = array.filled(0) if isinstance(array, np.ma.MaskedArray) else array.astype("float64")
    explanation = explain(nn.Linear(2, 3), {"weight": way_out, "bias": torch.ones(3)})
    assert explanation.reach == "Tried on a copy, the last line loads everything."


class Levelled(nn.Linear):
    """Keeps a number beside its tensors."""

    level = 3

    def get_extra_state(self) -> dict:
        return {"level": self.level}

    def set_extra_state(self, state: dict) -> None:
        self.level = state["level"]


def test_what_modules_keep_beside_arrays_goes_along() -> None:
    model, source = Levelled(2, 3), Levelled(2, 3)
    source.level = 5
    given = {key: t.numpy() if isinstance(t, torch.Tensor) else t for key, t in source.state_dict().items()}
    exec(explain(model, given | {"epoch": 7}).fix, {"model": model, "state_dict": given | {"epoch": 7}})
    assert model.level == 5
    assert torch.equal(model.weight, source.weight)


# files


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["?", "u1", "i2", "<i4", ">i8", "<f2", ">f4", "<f8", "<c8", ">c16", "<u2"])
def test_arrays_in_a_file_are_read_as_tensors(tmp_path, kind, legacy) -> None:
    numbers = np.array([[0, 1, 5], [0, 7, 3]])
    content = {
        "rows": numbers.astype(kind),
        "columns": np.asfortranarray(numbers.astype(kind)),
        "one": np.array(1, kind),
        "none": np.zeros((0, 3), kind),
        "w": torch.ones(2),
    }
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    found = read_state_dict(tmp_path / "a.pth")
    assert list(found) == list(content)
    expected = numbers.astype(kind).tolist()
    assert found["rows"].tolist() == expected
    assert found["columns"].tolist() == expected
    assert found["rows"].dtype == torch.as_tensor(np.zeros(1, np.dtype(kind).newbyteorder("="))).dtype
    assert found["one"].shape == ()
    assert found["none"].shape == (0, 3)


def test_arrays_in_nests_are_found_and_can_be_trained(tmp_path) -> None:
    weights = {"weight": np.array(VALUES, "f4"), "bias": np.arange(3, dtype="f4")}
    torch.save({"epoch": 3, "averaged": weights, "losses": [np.ones(2)]}, tmp_path / "a.pth")
    model = load_without_copying(lambda: nn.Linear(2, 3), tmp_path / "a.pth")
    model(torch.ones(4, 2)).sum().backward()
    torch.optim.SGD(model.parameters(), 1.0).step()
    assert model.weight.tolist() == [[value - 4 for value in row] for row in VALUES]


def test_arrays_without_names_can_be_loaded_and_named(tmp_path) -> None:
    torch.save([np.array(VALUES, ">f4"), {"b": np.arange(3)}], tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=r"a list, not tensors by name.*load_safely\(path, arrays=True\)"):
        read_state_dict(tmp_path / "a.pth")
    weight, others = load_safely(tmp_path / "a.pth", arrays=True)
    assert weight.tolist() == VALUES
    assert others["b"].tolist() == [0, 1, 2]
    with pytest.raises(StateDictError, match=r"more than tensors: an object of numpy\._core\.multiarray\._reconstruct"):
        load_safely(tmp_path / "a.pth")


def test_arrays_that_no_tensor_can_hold_are_left_out_of_a_file(tmp_path) -> None:
    others = {"text": np.array(["a", "bc"]), "fields": np.zeros(2, [("a", "f4")]), "things": np.array([1, None])}
    torch.save({"w": torch.ones(2), **others}, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth")
    assert list(found) == ["w"]
    assert found.notes == ("left out, for they are no tensors: text, fields, things",)
    torch.save(others, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=r"no tensors by name; it holds text \(NumpyArray\)"):
        read_state_dict(tmp_path / "a.pth")


class Forged:
    """An array whose pickle says something else than numpy would."""

    def __init__(self, *state: object) -> None:
        self.state = state

    def __reduce__(self):
        return np.array(1).__reduce__()[0], (np.ndarray, (0,), b"b"), self.state


@pytest.mark.parametrize(
    "state",
    [
        (1, (1 << 40,), np.dtype("f4"), False, b"1234"),
        (1, (-1, -1), np.dtype("f4"), False, b"1234"),
        (1, ("a",), np.dtype("f4"), False, b"1234"),
        (1, (1,), np.dtype("f4"), False, [3]),
        (1, (1,)),
        ({"a": 1},),
    ],
)
def test_arrays_that_contradict_themselves_are_damaged(tmp_path, state) -> None:
    torch.save({"w": torch.ones(2), "forged": Forged(*state)}, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=r"a\.pth is no checkpoint that torch\.save wrote, or it is damaged"):
        read_state_dict(tmp_path / "a.pth")


def test_numpy_is_not_called_by_a_file(tmp_path, monkeypatch) -> None:
    """Pickles name numpy's functions, of which some can be led astray; others take their places."""
    content = {"w": np.array(VALUES, ">f4")}
    assert b"_reconstruct" in pickle.dumps(content, protocol=2)
    torch.save(content, tmp_path / "a.pth")
    before = set(torch.serialization.get_safe_globals())

    def refuse(*_arguments: object) -> None:
        raise AssertionError("called")

    monkeypatch.setattr("numpy._core.multiarray._reconstruct", refuse)
    assert read_state_dict(tmp_path / "a.pth")["w"].tolist() == VALUES
    assert set(torch.serialization.get_safe_globals()) == before
