"""What a pickle asks for: an attack is called one, and what lies beside honest weights is not."""

import argparse
import codecs
import collections
import ctypes
import datetime
import decimal
import enum
import functools
import importlib
import linecache
import logging
import logging.handlers
import operator
import pathlib
import pickle
import pickletools
import pydoc
import random
import re
import runpy
import subprocess
import types
import uuid
import webbrowser
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from helpers.state_dict import StateDictError, read_state_dict
from helpers.state_dict.attacks import is_attack


class Payload:
    """What calls a function when it is unpickled."""

    def __init__(self, function) -> None:
        self.function = function

    def __reduce__(self):
        return self.function, ("executed",)


CALLS = [
    torch.serialization.load,
    np.load,
    np.fromfile,
    linecache.getline,
    importlib.import_module,
    runpy.run_path,
    webbrowser.open,
    ctypes.CDLL,
    codecs.open,
    pydoc.pipepager,
    subprocess.Popen,
    zipfile.ZipFile,
    logging.FileHandler,
    logging.handlers.RotatingFileHandler,
    compile,
    print,
    torch.utils.data.get_worker_info,
    torch.jit.load,
]


@pytest.mark.parametrize("stand_ins", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("function", CALLS, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_functions_that_do_something_are_called_attacks(tmp_path, function, legacy, stand_ins) -> None:
    path = tmp_path / "a.pth"
    content = {"w": torch.ones(2), "x": Payload(function)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(StateDictError, match="which no weights need: it is an attack, delete it"):
        read_state_dict(path, stand_ins=stand_ins)


@pytest.mark.parametrize(
    "name",
    [
        "eval",  # PyTorch leaves out where it is from
        "__builtin__.execfile",
        "commands.getoutput",
        "cPickle.loads",
        "urllib2.urlopen",
        "nt.system",
        "torch.serialization.os.system",
        "torch.nn.functional.importlib.import_module",
        "torch.from_file",
        "numpy.f2py.crackfortran.getlincoef",
        "torch.utils.cpp_extension.load",
        "pathlib.Path.unlink",
        "types.FunctionType",
        "types.CodeType",
        "pip.main",
        "requests.get",
    ],
)
def test_names_that_are_not_loaded_or_of_older_versions_are_known(name) -> None:
    assert is_attack(name)


class Colour(enum.Enum):
    RED = 1


def honest() -> list[object]:
    """What people have beside their weights."""
    return [
        argparse.Namespace(lr=0.1),
        collections.defaultdict(list),
        collections.deque([1]),
        datetime.datetime(2020, 2, 3),
        datetime.timedelta(3),
        decimal.Decimal("0.1"),
        functools.partial(int, base=3),
        logging.getLogger("training"),
        max,
        operator.itemgetter(1),
        operator.add,
        pathlib.Path("a"),
        random.Random(3),
        re.compile("a"),
        types.SimpleNamespace(lr=0.1),
        uuid.UUID(int=3),
        Colour.RED,
        ValueError("a"),
        np.float64(3),
        np.arange(3),
        np.dtype("f4"),
        np.sqrt,
        np.mean,
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.random.RandomState(3),
        np.random.default_rng(3),
        nn.MultiheadAttention(4, 2),
        nn.functional.relu,
        nn.functional.gelu,
        nn.init.xavier_uniform_,
        torch.tanh,
        torch.optim.SGD([torch.ones(2)], 0.1),
        torch.utils.data.TensorDataset(torch.ones(2)),
    ]


@pytest.mark.parametrize("thing", honest(), ids=lambda thing: type(thing).__name__)
def test_what_lies_beside_honest_weights_is_none(thing) -> None:
    operations = pickletools.genops(pickle.dumps(thing, protocol=2))
    names = [argument.replace(" ", ".") for operation, argument, _ in operations if operation.name == "GLOBAL"]
    assert names
    assert [name for name in names if is_attack(name)] == []


def test_what_is_not_installed_cannot_be_judged() -> None:
    assert not is_attack("some_library.swish")
    assert not is_attack("some_library.config.Config")


def test_nothing_is_imported_to_find_out() -> None:
    import sys

    before = set(sys.modules)
    for name in ("this.s", "antigravity.geohash", "idlelib.pyshell.main", "numpy.f2py.crackfortran.getlincoef"):
        assert is_attack(name)
    assert set(sys.modules) == before


@pytest.mark.parametrize("stand_ins", [False, True])
def test_what_pickle_wrote_is_no_attack(tmp_path, stand_ins) -> None:
    with (tmp_path / "a.pth").open("wb") as file:
        pickle.dump({"w": torch.ones(2)}, file, protocol=2)
    with pytest.raises(StateDictError, match=r"is a plain Python pickle.* pickle.load it, and torch.save"):
        read_state_dict(tmp_path / "a.pth", stand_ins=stand_ins)
