"""From a file to a ready model, and matching names against the number of modules.

The recipe builds the model, reads the checkpoint into memory, filters its keys and copies. What cannot be saved, if all
weights are to be in memory of one's own, is reading the bytes; `load_without_copying` maps the file instead, and reads
a weight when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from files import read, vgg16
from measuring import Case, Goal, Way, Work, at_once
from torch import nn

from helpers.state_dict import explain, load_matching, load_without_copying


def the_recipe(make: Callable[[], nn.Module], path: Path) -> object:
    model = make()
    pretrained = torch.load(path, map_location="cpu")
    model_dict = model.state_dict()
    model_dict.update({key: value for key, value in pretrained.items() if key in model_dict})
    model.load_state_dict(model_dict)
    return model


def not_strict(make: Callable[[], nn.Module], path: Path) -> object:
    model = make()
    model.load_state_dict(torch.load(path), strict=False)
    return model


def mapped_by_hand(make: Callable[[], nn.Module], path: Path) -> object:
    with torch.device("meta"):
        model = make()
    model.load_state_dict(torch.load(path, mmap=True), assign=True)
    return model


def and_all_read(make: Callable[[], nn.Module], path: Path) -> object:
    model = load_without_copying(make, path)
    for parameter in model.parameters():
        parameter.detach().flatten()[::1024].sum()  # one number of each page
    return model


def loading(make: Callable[[], nn.Module], path: Path, title: str, **options: object) -> Case:
    ways: dict[str, Work] = {
        "the posts' recipe": partial(the_recipe, make, path),
        "load_state_dict(strict=False)": partial(not_strict, make, path),
        "mmap, meta, assign=True by hand": partial(mapped_by_hand, make, path),
        "load_without_copying": partial(load_without_copying, make, path),
        "  and all numbers read": partial(and_all_read, make, path),
        "  with verify=True": partial(load_without_copying, make, path, verify=True),
        "limit: read the bytes": partial(read, path),
    }
    return Case(title, at_once(ways), **options)  # type: ignore[arg-type]


def chain(layers: int, width: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))


def matching(modules: int) -> Case:
    def prepare(way: Callable[[nn.Module, dict], object]) -> Work:
        model, source = chain(modules, 3), chain(modules, 3).state_dict()
        return lambda: way(model, source)

    def plain(model: nn.Module, source: dict) -> object:
        return model.load_state_dict(source, strict=False)

    ways = {"load_state_dict(strict=False)": plain, "load_matching": load_matching, "explain": explain}
    return Case(
        f"match {modules:,} modules by name",
        [Way(name, partial(prepare, way)) for name, way in ways.items()],
        series="modules",
        size=modules,
    )


def cases(folder: Path, quick: bool) -> list[Case]:
    make, path = vgg16(quick), folder / "vgg16.pth"
    if not path.exists():
        torch.save(make().state_dict(), path)
    goals = (
        [] if quick else [Goal("load_without_copying", "of the recipe", 0.02), Goal("load_without_copying", "MB", 5)]
    )
    found = [loading(make, path, "a VGG16 from a file", goals=goals)]
    for megabytes in (4, 16) if quick else (64, 256, 1024):
        width = round((megabytes * 1e6 / 4 / 16) ** 0.5)
        of_this_size = partial(chain, 16, width)
        path = folder / f"{megabytes}.pth"
        if not path.exists():
            torch.save(of_this_size().state_dict(), path)
        found.append(loading(of_this_size, path, f"{megabytes} MB from a file", series="MB of a file", size=megabytes))
    return found + [matching(modules) for modules in ((100, 200) if quick else (1250, 2500, 5000))]
