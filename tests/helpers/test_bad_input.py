"""Every public function of every room, called with what it was not made for: the error of a room, or an answer."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import helpers
from helpers.errors import WeightsError

ROOMS = [path.parent.name for path in sorted(Path(helpers.__path__[0]).glob("*/__init__.py"))]
WRONG = (None, 3, 2.5, True, "x", b"x", [], {}, float("nan"), torch.ones(2), nn.Linear)


def functions() -> Iterator[tuple[str, Callable]]:
    """What the rooms offer; classes are what those give back, but for networks and layers."""
    for room in ROOMS:
        module = importlib.import_module(f"helpers.{room}")
        for name in module.__all__:
            offered = getattr(module, name)
            is_network = inspect.isclass(offered) and issubclass(offered, nn.Module)
            if inspect.isfunction(offered) or is_network:
                yield f"{room}.{name}", offered


FUNCTIONS = dict(functions())


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_type_is_the_error_of_a_room(name, wrong, tmp_path, monkeypatch) -> None:
    """Each argument that is asked for is this one; a path that is text may be missing."""
    monkeypatch.chdir(tmp_path)
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    asked = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    options = {p.name: wrong for p in asked if p.kind is p.KEYWORD_ONLY}
    arguments = [wrong for p in asked if p.kind is not p.KEYWORD_ONLY]
    try:
        FUNCTIONS[name](*arguments, **options)
    except (WeightsError, FileNotFoundError) as error:
        assert str(error)  # noqa: PT017 - either is right, and so is an answer


def test_all_rooms_are_tried() -> None:
    assert {name.partition(".")[0] for name in FUNCTIONS} == set(ROOMS)
    assert len(FUNCTIONS) > 50
