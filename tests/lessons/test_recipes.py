"""The recipes: that each is short, pastes anywhere, and fails if it is wrong.

That each does what the helper does that has the same job, test_recipes_against_helpers.py shows.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import pickle
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F
from alone import Done, run_alone
from lesson import NOTEBOOKS, recipe_of
from matlab73 import save73
from recipes import CELLS, NAMES, NOTEBOOK, SOURCES, functions
from safetensors.torch import save_file
from torch import nn

ALLOWED = {"torch", "torchvision", "numpy", "scipy", "safetensors", *sys.stdlib_module_names}
TEXTS = [cell.source for cell in CELLS if cell.cell_type == "markdown"]

each_recipe = pytest.mark.parametrize("name", NAMES)


# what the notebook looks like


def test_there_are_recipes_and_each_defines_a_function_of_its_own_name() -> None:
    assert len(NAMES) >= 22
    assert len(set(NAMES)) == len(NAMES)
    assert all(1 <= len(functions(source)) <= 2 for source in SOURCES)  # one may need another, or undo it


def test_the_index_has_every_question_once_in_order_and_nothing_else() -> None:
    lines = TEXTS[0].splitlines()
    shown = [line for line in lines if line.startswith(("- ", "**"))]
    expected = []
    for text in TEXTS[1:]:
        marks, heading = re.match(r"(#+) (.*)", text).groups()
        anchor = heading.replace("`", "").replace(" ", "-")  # as JupyterLab makes it
        expected.append(f"**{heading}**" if marks == "##" else f"- [{heading}](#{anchor})")
    assert shown == expected
    assert sum("](" in line for line in lines) == len(NAMES)


def test_every_cell_has_a_question_an_answer_in_words_and_a_lesson_above_it() -> None:
    for above, below in itertools.pairwise(CELLS):
        if below.cell_type == "code":
            heading, words, lesson = re.fullmatch(
                r"### (.+)\n\n(?:\*Messages?:\* .+\n\n)?(.+) See \[lesson .*?\]\((.*?)\)\.", above.source
            ).groups()
            assert not set(heading) & set("()[]#*\"'<>"), "an anchor of such a heading may not work"
            assert 2 <= len(re.findall(r"[.?!](?= |$)", words)) <= 5, heading
            assert (NOTEBOOKS / lesson).exists()
            assert re.match(rf".*\[lesson {lesson[:2]}\]", above.source, flags=re.S)


def test_every_cell_was_run_and_said_nothing() -> None:
    code = [found for found in CELLS if found.cell_type == "code"]
    assert [found.execution_count for found in code] == list(range(1, len(code) + 1))
    assert all(found.outputs == [] for found in code)


@each_recipe
def test_a_recipe_is_short_typed_and_ends_in_an_assertion(name) -> None:
    source = recipe_of(NOTEBOOK, name)
    lines, tree = source.splitlines(), ast.parse(source)
    assert len(lines) <= 55
    assert max(map(len, lines)) <= 120
    for function in functions(source):
        arguments = [*function.args.args, function.args.vararg, *function.args.kwonlyargs]
        assert all(argument.annotation for argument in arguments if argument)
        assert function.returns
        assert ast.get_docstring(function)
    end = functions(source)[-1].end_lineno
    assert 2 <= sum(bool(line.strip()) for line in lines[end:]) <= 11
    last = tree.body[-1]
    compared = isinstance(last, ast.Expr) and ast.unparse(last).startswith("torch.testing.assert_close(")
    assert compared or isinstance(last, ast.Assert)
    assert "print(" not in source


@each_recipe
def test_a_recipe_imports_what_every_user_of_pytorch_can_have(name) -> None:
    imported = set()
    for node in ast.walk(ast.parse(recipe_of(NOTEBOOK, name))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            imported.add(node.module)
    assert {module.split(".")[0] for module in imported} <= ALLOWED


# that it runs alone


CONTROLS = {  # what shows that a cell has nothing but what it imports, and that all it does is noticed
    "forgets an import": "torch.ones(2)",
    "asks for helpers": "import helpers",
    "asks for workbook": "import workbook",
    "leaves a file": "open('left', 'w').close()\nimport torch\nprint(torch.ones(1))",
    "warns": "import warnings\nwarnings.warn('careful')",
    "exits": "import sys\nsys.exit(3)",
}
OF_LESSONS = {path.stem: path for path in sorted(NOTEBOOKS.glob("0[1-9]_*.ipynb"))}


def recipe_of_lesson(path: Path) -> str:
    """The code cell that follows the heading "The recipe"."""
    found = nbformat.read(path, as_version=4).cells
    headings = [i for i, cell in enumerate(found) if cell.cell_type == "markdown" and "## The recipe" in cell.source]
    assert len(headings) == 1
    return found[headings[0] + 1].source


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, Done]:
    """What became of all cells that are to be run alone."""
    recipes = {name: recipe_of(NOTEBOOK, name) for name in NAMES}
    of_lessons = {name: recipe_of_lesson(path) for name, path in OF_LESSONS.items()}
    return run_alone(recipes | of_lessons | CONTROLS, tmp_path_factory.mktemp("alone"))


@each_recipe
def test_a_recipe_runs_alone_and_leaves_nothing_behind(name, alone) -> None:
    assert alone[name] == Done(0, "", "", []), alone[name].stderr


@pytest.mark.parametrize("name", OF_LESSONS)
def test_the_recipe_of_a_lesson_runs_alone(name, alone) -> None:
    assert alone[name].status == 0, alone[name].stderr
    for house in ("helpers", "workbook"):
        assert house not in recipe_of_lesson(OF_LESSONS[name])


def test_what_is_run_alone_has_nothing_but_what_it_imports(alone) -> None:
    assert [name for name in CONTROLS if alone[name].status == 0] == ["leaves a file"]
    assert "NameError: name 'torch' is not defined" in alone["forgets an import"].stderr
    assert "ModuleNotFoundError: import of helpers halted" in alone["asks for helpers"].stderr
    assert "ModuleNotFoundError: import of workbook halted" in alone["asks for workbook"].stderr
    assert "UserWarning: careful" in alone["warns"].stderr
    assert alone["leaves a file"].stdout == "tensor([1.])\n"
    assert [path.name for path in alone["leaves a file"].left] == ["left"]


# that its assertion can fail

MISTAKES = {  # what is wrong -> name of the recipe, what stands there, what would be wrong
    "lists are not searched": ("shapes_in", "dict | list | tuple):", "dict):"),
    "one prefix is taken off": ("without_prefixes", "while not found", "if not found"),
    "one nest is opened": ("unwrapped", "return unwrapped(checkpoint[found[0]], nests)", "return checkpoint[found[0]]"),
    "the model is loaded into itself": ("load_all_but", "load_state_dict(body,", "load_state_dict(model.state_dict(),"),
    "it keeps its own tensors": ("load_what_fits", "{key: state_dict[key] for", "{key: in_model[key] for"),
    "rules do not follow one another": ("renamed", "for name in names]", "for name in state_dict]"),
    "pairs of the model alone": (
        "named_as_in",
        "(_, tensor) in zip(in_model, in_checkpoint",
        "(_, tensor) in zip(in_model, in_model",
    ),
    "read and not loaded": ("load_weights", "model.load_state_dict(torch.load(", "tuple(torch.load("),
    "a class that nobody named": ("load_allowing", "[*allowed,", "[argparse.Namespace,"),
    "a fresh model is returned": ("load_without_copying", "return model", "return build()"),
    "checksums are not compared": ("damage_in", "archive.testzip()", "archive.namelist() and None"),
    "train mode": ("first_difference", "copy.deepcopy(model).eval()", "copy.deepcopy(model).train()"),
    "height and width exchanged": ("convs_in", "permute(3, 2, 0, 1)", "permute(3, 2, 1, 0)"),
    "flattened before the axes move": (
        "fill_linear_",
        "torch.tensor(kernel).permute(3, 2, 0, 1).flatten(1)",
        "torch.tensor(kernel).reshape(-1, kernel.shape[3]).T",
    ),
    "sigma read as variance": ("batch_norm", "sigma**2", "sigma"),
    "mean in units of 0 to 1": ("fold_average_", "255 * mean - average", "mean - average"),
    "mean of the channels": ("for_grey", ".sum(1,", ".mean(1,"),
    "places sorted": ("for_channels", "list(places)", "sorted(places)"),
    "as frozen as the old one": (
        "set_classes_",
        "*old.weight.shape[1:]))",
        "*old.weight.shape[1:]), requires_grad=old.weight.requires_grad)",
    ),
    "rows by place": ("head_for", "head.weight[old.index(name)]", "head.weight[row % len(old)]"),
    "one block for all": ("make_heads", "copy.deepcopy(block)", "block"),
    "the layers of the model itself": ("cut_behind", "copy.deepcopy(model)", "model"),
    "height and width of the kernel exchanged": ("as_conv", "(height, width), padding", "(width, height), padding"),
    "centre of an odd kernel": ("init_bilinear_", "(size - 1) / 2", "size // 2"),
    "the last pixel repeated": ("upsample_bilinear", "(1, 1, 1, 1))", "(1, 1, 1, 1), mode='replicate')"),
    "frozen in train mode": ("train_except", "module.eval().requires", "module.requires"),
    "still in the optimizer": ("freeze_and_release_", "parameter not in frozen for", "True for"),
    "frozen ones in a group": ("groups_for", " if parameter.requires_grad]", "]"),
    "features with dropout": ("cached", "copy.deepcopy(backbone).eval()", "copy.deepcopy(backbone)"),
    "written in place": ("save_safely", 'Path(f"{path}.tmp")', "Path(path)"),
    "no random state goes back": ("state_of", "torch.set_rng_state(draws", "tuple(draws"),
    "parameters without buffers": ("export_weights", "model.state_dict().items()", "model.named_parameters()"),
}


def test_every_recipe_has_a_mistake() -> None:
    assert {name for name, _, _ in MISTAKES.values()} == set(NAMES)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_recipe_notices_a_mistake(mistake) -> None:
    name, right, wrong = MISTAKES[mistake]
    source = recipe_of(NOTEBOOK, name)
    assert source.count(right) == 1
    torch.manual_seed(0)
    exec(source, {})
    with pytest.raises(AssertionError):
        exec(source.replace(right, wrong), {})


# that it is found by what people paste


def state(**tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name.replace("__", "."): tensor for name, tensor in tensors.items()}


def file_of(content: bytes, folder: Path) -> Path:
    (folder / "a.pth").write_bytes(content)
    return folder / "a.pth"


def saved(folder: Path, content: object, zipped: bool = True) -> Path:
    torch.save(content, folder / "a.pth", _use_new_zipfile_serialization=zipped)
    return folder / "a.pth"


def as_if_on_a_gpu(folder: Path) -> Path:
    with patch("torch.serialization.location_tag", return_value="cuda:0"):
        return saved(folder, {"a": torch.ones(2)})


def load_a_half(folder: Path, zipped: bool) -> None:
    content = saved(folder, nn.Linear(300, 200).state_dict(), zipped).read_bytes()
    torch.load(file_of(content[: len(content) // 2], folder))


def save_tied(folder: Path) -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    save_file(model.state_dict(), folder / "a.safetensors")


def load_onto_meta() -> None:
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_state_dict(nn.Linear(3, 2).state_dict())


def load_other_groups() -> None:
    large, small = (torch.optim.SGD(nn.Linear(3, 2, bias=b).parameters(), 0.1) for b in (True, False))
    small.load_state_dict(large.state_dict())


class Named(nn.Module):
    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class ResNet(Named):
    """As an error names it."""


CONV, WEIGHT = Named(conv1=nn.Conv2d(3, 4, 5, bias=False)), torch.ones(4, 3, 5, 5)
PASTED: dict[
    str, list[Callable[[Path], Any]]
] = {  # a question -> what makes its messages, each of which must stand below it
    "What is in this checkpoint?": [lambda _: nn.Linear(3, 2).state_dict().eval()],
    "My checkpoint has `module.` in front of every key": [
        lambda _: CONV.load_state_dict({"module.conv1.weight": WEIGHT})
    ],
    "The weights are nested: state_dict, model, ema": [
        lambda _: CONV.load_state_dict({"epoch": 3, "state_dict": {}, "optimizer": {}}),
        lambda _: CONV.load_state_dict(CONV),
    ],
    "size mismatch for fc.weight": [
        lambda _: Named(fc=nn.Linear(512, 10)).load_state_dict(state(fc__weight=torch.ones(1000, 512)), strict=False)
    ],
    "Load what fits, and tell me what did not": [lambda _: ResNet(fc=nn.Linear(3, 2)).load_state_dict({})],
    "My keys have other names": [lambda _: CONV.load_state_dict({"backbone.conv1.weight": WEIGHT})],
    "A CUDA checkpoint on a machine without a GPU": [lambda folder: torch.load(as_if_on_a_gpu(folder))],
    "Weights only load failed": [lambda folder: torch.load(saved(folder, {"args": argparse.Namespace(lr=0.1)}))],
    "Load a big checkpoint without using twice the memory": [
        lambda _: nn.Linear(3, 2, device="meta").to("cpu"),
        lambda _: load_onto_meta(),
    ],
    "Is my file damaged?": [
        lambda folder: load_a_half(folder, zipped=True),
        lambda folder: load_a_half(folder, zipped=False),
        lambda folder: torch.load(file_of(pickle.dumps({"a": 1}), folder), weights_only=False),
        lambda folder: torch.load(file_of(b"<!DOCTYPE html>", folder), weights_only=False),
    ],
    "Kernels of a MatConvNet file into a Conv2d": [
        lambda folder: scipy.io.loadmat(save73(folder / "a.mat", weights=np.ones((2, 3))))
    ],
    "My images are grey, the weights are for RGB": [lambda _: CONV.conv1(torch.ones(2, 1, 224, 224))],
    "My images have 4 channels or 12, the weights are for RGB": [lambda _: CONV.conv1(torch.ones(2, 4, 224, 224))],
    "I have another number of classes": [lambda _: F.cross_entropy(torch.rand(1, 10), torch.tensor([10]))],
    "Cut a network behind a layer": [lambda _: nn.Linear(512, 10)(torch.ones(2, 512, 1, 1))],
    "BatchNorm moves although it is frozen": [lambda _: nn.BatchNorm1d(3)(torch.ones(1, 3))],
    "Frozen parameters still move": [
        lambda _: nn.Linear(3, 2).requires_grad_(False)(torch.ones(1, 3)).sum().backward()
    ],
    "Resume exactly": [lambda _: load_other_groups()],
    "Save weights for other people": [
        save_tied,
        lambda folder: save_file({"a": torch.ones(3, 4).t()}, folder / "a.safetensors"),
    ],
}
MESSAGES = {
    heading: re.findall("`(.+?)`", line)
    for text in TEXTS
    for heading, line in re.findall(r"^### (.+)\n\n\*Messages?:\* (.+)$", text, flags=re.M)
}


def test_all_messages_are_made_here() -> None:
    assert MESSAGES.keys() == PASTED.keys()


@pytest.mark.parametrize("heading", PASTED)
def test_a_message_is_what_python_says(heading, tmp_path) -> None:
    said = []
    for make in PASTED[heading]:
        with pytest.raises(Exception) as caught:  # noqa: PT011  of many types
            make(tmp_path)
        said.append(str(caught.value))
    for message in MESSAGES[heading]:
        assert any(message in text for text in said), said
    assert all(any(message in text for message in MESSAGES[heading]) for text in said)
