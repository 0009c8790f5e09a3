"""constraints.txt pins what this environment holds and what is asked for; a drift is noticed."""

import tomllib

import pytest
from packaging.requirements import Requirement

from tools import write_constraints
from workbook.places import WORKBOOK

PINNED = write_constraints.pinned()
PROJECT = tomllib.loads((WORKBOOK / "pyproject.toml").read_text())["project"]
GROUPS = PROJECT["optional-dependencies"]
ASKED = [Requirement(line) for line in sum(GROUPS.values(), PROJECT["dependencies"])]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_what_is_asked_for_is_pinned_as_it_is_asked_for(asked) -> None:
    assert asked.specifier.contains(PINNED[asked.name.lower()])


def test_this_environment_has_not_drifted() -> None:
    """Run `make setup`; if the newer versions are wanted and all tests are green, `make constraints`."""
    drifted = {name: version for name, version in write_constraints.installed().items() if PINNED.get(name) != version}
    assert drifted == {}


def test_pins_serve_computers_with_and_without_cuda() -> None:
    assert len(PINNED) > 100
    assert not [version for version in PINNED.values() if "+" in version]


def test_other_systems_and_older_pythons_have_pins_of_their_own() -> None:
    markers = {(pin.name, str(pin.marker)) for pin in write_constraints.pins() if pin.marker}
    assert ("appnope", 'sys_platform == "darwin"') in markers
    assert ("colorama", 'sys_platform == "win32"') in markers
    assert ("pywinpty", 'os_name == "nt"') in markers
    both = [pin for pin in write_constraints.pins() if pin.name == "soupsieve"]  # its newest is not for Python 3.11.4
    assert [pin.marker.evaluate({"python_full_version": "3.11.2"}) for pin in both] == [True, False]


def test_pins_are_written_as_they_are_read(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(write_constraints, "CONSTRAINTS", tmp_path / "constraints.txt")
    write_constraints.write({"a-b": "1.0", "c": "2.1"})
    assert write_constraints.pinned() == {"a-b": "1.0", "c": "2.1"}


def test_set_up_conda_and_continuous_integration_use_them() -> None:
    for name in ("tools/setup.py", "environment.yml"):
        text = (WORKBOOK / name).read_text().replace('", "', " ")
        assert "--constraint constraints.txt" in text
    assert "tools/setup.py test classroom site" in (WORKBOOK / "tools/ci.sh").read_text()
