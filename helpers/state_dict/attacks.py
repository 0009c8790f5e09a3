"""What a pickle may ask for, and what no weights need: then whoever wrote it wants something else."""

from __future__ import annotations

import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # names of Python 2, which torch.save's protocol writes

import numpy as np
import torch

# Of the standard library weights need what holds values: classes of these modules, and functions that make them again
# or compute. All else there does something, or runs code that the file brings.
VALUES = re.compile(
    r"abc|argparse|array|builtins|calendar|collections|configparser|copy|copyreg|dataclasses|datetime|decimal|enum|"
    r"fractions|functools|inspect|ipaddress|itertools|logging|numbers|operator|pathlib|queue|random|re|statistics|"
    r"string|threading|time|traceback|types|typing|uuid|zoneinfo"
)
FUNCTIONS = re.compile(
    r"copyreg\.(_reconstructor|__newobj__|__newobj_ex__)|re\._compile|logging\.getLogger|_codecs\.encode|"
    r"builtins\.(getattr|abs|len|max|min|sum|round|sorted|iter)|_?operator\.\w+|math\.\w+"
)
CODE = re.compile(
    r"types\.(CodeType|FunctionType|LambdaType)|threading\.(Thread|Timer)|logging\.(\w+\.)*\w*Handler|"
    r"pathlib\.(\w+\.)*\w*Path\.\w+"
)

# Libraries of which classes may lie beside weights, and of functions those that compute, or make tensors again.
LIBRARIES = ("torch", "torchvision", "numpy", "joblib", "requests", "pip", "setuptools")
COMPUTING = re.compile(
    r"(torch\.(nn\.functional|nn\.init|special|_C\._nn)|torchvision\.(models|ops|transforms)(\.\w+)*)\.\w+"
)
MAKING = re.compile(
    r"_\w*(rebuild|reconstruct|unpickle|ctor|frombuffer)\w*|_load_from_bytes|scalar|reduce_graph_module"
)


def is_attack(name: str) -> bool:
    """Whether a file that asks for this name means harm. Nothing is imported to find out.

    Args:
        name: with its module in front; that of builtins may be left out.
    """
    module, _, attribute = (name if "." in name else f"builtins.{name}").rpartition(".")
    module, attribute = NAME_MAPPING.get((module, attribute), (IMPORT_MAPPING.get(module, module), attribute))
    library = module.partition(".")[0]
    full_name = f"{module}.{attribute}"
    if FUNCTIONS.fullmatch(full_name):
        return False
    if library in sys.stdlib_module_names:
        holds_values = VALUES.fullmatch(library) and not CODE.fullmatch(full_name)
        return not (holds_values and _is_class(module, attribute))
    if library not in LIBRARIES or COMPUTING.fullmatch(full_name) or MAKING.fullmatch(attribute):
        return False
    if module in ("torch", "numpy") and (hasattr(torch.Tensor, attribute) or hasattr(np.ndarray, attribute)):
        return False  # what is a method of tensors, too, computes with them
    return not _is_class(module, attribute)


def _is_class(module: str, attribute: str) -> bool:
    """Whether it is a class, or a function of numpy that computes; if it is not loaded, as its name is written."""
    loaded = getattr(sys.modules.get(module), "__dict__", {})
    if attribute in loaded:
        return isinstance(loaded[attribute], type | np.ufunc)
    return attribute.lstrip("_")[:1].isupper()
