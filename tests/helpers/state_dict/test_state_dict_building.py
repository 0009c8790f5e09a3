"""`load_without_copying`: whatever `build` does, the state of this process is as it was."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from helpers.state_dict import StateDictError, load_without_copying


@pytest.fixture
def path(tmp_path):
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "a.pth")
    return tmp_path / "a.pth"


def state() -> list[object]:
    """All that is global, as far as somebody can notice it."""
    return [
        torch.get_default_dtype(),
        torch.empty(1).device,
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
    ]


@pytest.fixture(params=[None, "cpu", "meta"])
def default(request):
    torch.set_default_device(request.param)
    yield request.param
    torch.set_default_device(None)
    assert torch.empty(1).device.type == "cpu"


@pytest.mark.parametrize("error", [KeyError("a"), ValueError("b"), SystemExit(0), KeyboardInterrupt()], ids=repr)
def test_errors_of_build_come_through_and_leave_no_trace(path, default, error) -> None:
    def build() -> nn.Module:
        change_all_but_the_device()
        raise error

    def change_all_but_the_device() -> None:
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(11)
        random.seed(12)
        np.random.seed(13)  # noqa: NPY002

    before = state()
    with pytest.raises(type(error)) as raised:
        load_without_copying(build, path)
    assert raised.value is error
    assert state() == before


class Stubborn(nn.Linear):
    def _load_from_state_dict(self, *_arguments) -> None:
        raise KeyError("gone")


def test_what_stops_the_loading_is_named(path) -> None:
    with pytest.raises(StateDictError, match=r"a\.pth does not fit: KeyError: 'gone'"):
        load_without_copying(lambda: Stubborn(2, 3), path)


def test_what_stops_the_building_on_meta_is_quoted(path) -> None:
    def build() -> nn.Module:
        raise RuntimeError("no such variant")

    with pytest.raises(StateDictError, match=r"cannot be built on meta \(RuntimeError: no such variant\)"):
        load_without_copying(build, path)


@pytest.mark.parametrize("other", [torch.ones(3, 3) * 2, torch.ones(3, 3).half(), torch.ones(3, 3).double()])
def test_shared_tensors_must_be_the_same_in_kind_too(path, other) -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model

    tensors = {"0.weight": torch.ones(3, 3), "0.bias": torch.ones(3), "1.weight": other, "1.bias": torch.ones(3)}
    torch.save(tensors, path)
    with pytest.raises(StateDictError, match=r"shares one tensor between '0\.weight' and '1\.weight'"):
        load_without_copying(build, path)
