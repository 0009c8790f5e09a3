"""Every classification model of torchvision, for tests; all but the first of each family only in `make test-all`."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torchvision

NAMES = torchvision.models.list_models(module=torchvision.models)


def family(name: str) -> str:
    """The letters that a name begins with: resnet for resnet18 and resnet50."""
    return re.match("[a-z]+", name)[0]


FIRST_OF_ITS_FAMILY = {next(names) for _, names in itertools.groupby(NAMES, family)}


def case(name: str, *values: Any) -> Any:
    """For `pytest.mark.parametrize`: a model's name, and what else a test wants with it."""
    return pytest.param(name, *values, marks=[] if name in FIRST_OF_ITS_FAMILY else pytest.mark.long)
