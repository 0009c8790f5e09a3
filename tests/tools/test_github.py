"""What GitHub reads is valid by its published schemas, and calls only what is there. None of it could be run here."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from workbook.places import WORKBOOK as ROOT

SCHEMAS = {
    ".github/workflows/*.yml": "vendor.github-workflows",
    ".github/ISSUE_TEMPLATE/[!c]*.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/checkpoint.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    "CITATION.cff": "vendor.citation-file-format",
}
FILES = [(str(path.relative_to(ROOT)), schema) for glob, schema in SCHEMAS.items() for path in ROOT.glob(glob)]


@pytest.mark.parametrize(("name", "schema"), FILES)
def test_it_is_valid_by_its_schema(name, schema) -> None:
    check = ["-m", "check_jsonschema", "--builtin-schema", schema, "--force-filetype", "yaml"]
    done = subprocess.run(
        [sys.executable, *check, name], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_call_what_is_there() -> None:
    called = set()
    for path in ROOT.glob(".github/workflows/*.yml"):
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            runs = " ".join(step.get("run", "") for step in job["steps"])
            called |= set(re.findall(r"tools/\w+\.\w+", runs))
            for target in re.findall(r"\bmake (\w+)", runs):
                assert re.search(rf"^[\w -]*\b{target}\b[\w -]*:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert called >= {"tools/test.py", "tools/versions.py", "tools/ci.sh"}
    assert all((ROOT / name).exists() for name in called)


def test_the_site_is_published_by_hand_alone() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/site.yml").read_text(encoding="utf-8"))
    assert list(workflow[True]) == ["workflow_dispatch"]  # YAML reads `on` as True


def test_the_devcontainer_sets_up_this_workbook() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert container["postCreateCommand"] == "python tools/setup.py"
    assert (ROOT / "tools/setup.py").exists()


def test_a_report_of_a_checkpoint_asks_for_what_the_command_gives() -> None:
    form = (ROOT / ".github/ISSUE_TEMPLATE/checkpoint.yml").read_text(encoding="utf-8")
    (command,) = re.findall(r"python -m (helpers\.state_dict --json) FILE MODEL", form)
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "data/vgg16_thin.pth", "workbook.networks:vgg16"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert json.loads(done.stdout)["coverage"] == 1
