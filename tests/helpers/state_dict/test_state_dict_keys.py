"""Keys that are no names, and dictionaries that lie in themselves or in many others."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from helpers.state_dict import StateDictError, explain, load_matching, match_keys, read_state_dict, suggest_renames

WEIGHTS = {"weight": torch.arange(6.0).reshape(3, 2), "bias": torch.arange(3.0)}


class Odd:
    """Runs code of its own whenever it is compared or shown."""

    def __hash__(self) -> int:
        return hash("state")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __repr__(self) -> str:
        raise AssertionError("shown")

    __str__ = __repr__


class OddText(str):
    """Text that runs code of its own."""

    def __repr__(self) -> str:
        raise AssertionError("shown")

    __str__ = __repr__

    def __format__(self, _form: str) -> str:
        raise AssertionError("shown")


ODD = [Odd(), OddText("weight"), (1, 2), None, 0.5, True, b"weight", np.int64(3), frozenset()]


def kind(key: object) -> str:
    return type(key).__name__


@pytest.mark.parametrize("key", ODD, ids=kind)
@pytest.mark.parametrize("call", [load_matching, match_keys, suggest_renames])
def test_keys_that_are_no_names_are_refused_by_their_kind(call, key) -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(StateDictError, match=f"a key is a {kind(key)} and no name"):
        call(model, {key: torch.ones(3, 2), "bias": torch.ones(3)})


@pytest.mark.parametrize("key", ODD, ids=kind)
def test_explain_names_their_kind_and_advises_nothing(key) -> None:
    explanation = explain(nn.Linear(2, 3), {key: torch.ones(3, 2), "bias": torch.ones(3)})
    assert explanation.causes == (
        f"There are keys that are no names, of type {kind(key)}: give what lies there names as text.",
    )
    assert explanation.fix == ""
    nested = explain(nn.Linear(2, 3), {"model": {key: 3, **WEIGHTS}})
    assert f"of type {kind(key)}" in nested.causes[-1]
    assert nested.fix == ""


@pytest.mark.parametrize("key", ODD, ids=kind)
def test_such_a_key_beside_a_nest_does_not_matter(key) -> None:
    explanation = explain(nn.Linear(2, 3), {key: {"weight": torch.ones(3, 2)}, "model": WEIGHTS})
    assert explanation.fix == "state_dict = state_dict['model']\nmodel.load_state_dict(state_dict)"


@pytest.mark.parametrize("key", [(1, 2), None, 0.5, True, b"weight"], ids=kind)
def test_tensors_in_a_file_need_names(tmp_path, key) -> None:
    torch.save({key: torch.ones(2), "w": torch.ones(3)}, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=f"holds a tensor under a {kind(key)}, and names are text"):
        read_state_dict(tmp_path / "a.pth")
    torch.save({key: "by the way", "w": torch.ones(3)}, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth").notes == (f"left out, for they are no tensors: a {kind(key)}",)
    torch.save({key: {"w": torch.ones(3)}, "other": {"w": torch.ones(2)}}, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=rf"with key=: a {kind(key)} \(1 tensor\), 'other' \(1 tensor\)"):
        read_state_dict(tmp_path / "a.pth")


# numbers as keys of nests


def test_nests_under_numbers_are_listed_as_they_must_be_given(tmp_path) -> None:
    torch.save({0: {"w": torch.zeros(2)}, 11: {"w": torch.ones(2)}, -3: {2: {"x.y": WEIGHTS}}}, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=r"key=: '0' \(1 tensor\), '11' \(1 tensor\), '-3' \(in it 2\)"):
        read_state_dict(tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth", key="0")["w"].tolist() == [0, 0]
    assert read_state_dict(tmp_path / "a.pth", key="11")["w"].tolist() == [1, 1]
    assert read_state_dict(tmp_path / "a.pth", key="-3.2.x.y")["bias"].tolist() == [0, 1, 2]
    with pytest.raises(StateDictError, match=r"no tensors under '-3.4'; '-3.2' \(in it x.y\)"):
        read_state_dict(tmp_path / "a.pth", key="-3.4")
    with pytest.raises(StateDictError, match="no tensors under '00'"):
        read_state_dict(tmp_path / "a.pth", key="00")


def test_the_note_names_a_number_as_it_must_be_given(tmp_path) -> None:
    torch.save({"model": WEIGHTS, 7: {"w": torch.ones(5)}}, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth").notes == (
        "unwrapped 'model'; beside it: 7 (key='7' takes the tensors there)",
    )
    assert read_state_dict(tmp_path / "a.pth", key="7")["w"].shape == (5,)


def test_a_number_and_a_text_that_would_be_one_key_are_refused(tmp_path) -> None:
    torch.save({1: {"w": torch.ones(2)}, "1": {"w": torch.zeros(2)}}, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match="has '1' twice, as a number and as text"):
        read_state_dict(tmp_path / "a.pth", key="1")


# circles, and one in many


def in_itself(content: dict) -> dict:
    content["itself"] = content
    return content


def in_a_circle(content: dict) -> dict:
    return {"outer": in_itself({"inner": content})}


def test_a_dictionary_in_itself_is_passed_over() -> None:
    model = nn.Linear(2, 3)
    explanation = explain(model, in_itself(dict(WEIGHTS)))
    assert explanation.causes == ("Beside the tensors lies what is none: itself.",)
    assert explain(model, in_itself({})).causes == ("There are no tensors in it.",)
    assert explain(model, in_itself({"w": torch.ones(5, 7)})).causes[0].endswith("what is none: itself.")


def test_tensors_in_a_circle_are_reached() -> None:
    model, given = nn.Linear(2, 3), in_a_circle(dict(WEIGHTS))
    exec(explain(model, given).fix, {"model": model, "state_dict": given})
    assert torch.equal(model.weight, WEIGHTS["weight"])
    far = {"a": {"b": {"c": {}}}}
    far["a"]["b"]["c"]["a"] = far
    assert explain(model, far).causes == ("There are no tensors in it.",)


@pytest.mark.parametrize("leaf", [WEIGHTS, {"w": torch.ones(5)}, {"epoch": 3}, {}], ids=len)
@pytest.mark.parametrize("depth", [6, 20])
def test_one_dictionary_in_many_takes_no_time(leaf, depth, tmp_path) -> None:
    shared = leaf
    for _ in range(depth):
        shared = {"a": shared, "b": shared, "c": shared}
    start = time.perf_counter()
    explanation = explain(nn.Linear(2, 3), shared)
    assert time.perf_counter() - start < 1
    if leaf is WEIGHTS and depth == 6:  # it is one and the same, so nobody needs to choose
        assert explanation.fix == "state_dict = state_dict['a']\n" * 6 + "model.load_state_dict(state_dict)"
    elif depth == 20:
        assert explanation.causes == ("There are no tensors in it.",)


def test_one_dictionary_in_a_thousand_takes_little_time() -> None:
    inner = {f"layer{i}.w": torch.ones(1) for i in range(1000)}
    start = time.perf_counter()
    explanation = explain(nn.Linear(2, 3), {f"nest{i}": {"inner": inner} for i in range(1000)})
    assert time.perf_counter() - start < 5
    assert explanation.causes[0] == "The tensors lie one level deeper, under 'nest0'."


# tensors without shapes


@pytest.mark.parametrize("nested", [False, True])
def test_tensors_of_lazy_modules_are_named(nested, tmp_path) -> None:
    lazy = dict(nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(5)).state_dict())
    explanation = explain(nn.Linear(2, 3), {"model": lazy} if nested else lazy)
    assert "'1.weight' is of a lazy module and has no numbers yet" in explanation.causes[-1]
    assert explanation.fix == ""
    for call in (load_matching, match_keys, suggest_renames):
        with pytest.raises(StateDictError, match=r"'1\.weight' is of a lazy module"):
            call(nn.Linear(2, 3), lazy)
    torch.save(lazy, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=r"a\.pth holds what is of a lazy module and has no numbers yet"):
        read_state_dict(tmp_path / "a.pth")
