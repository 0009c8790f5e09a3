"""Why a checkpoint does not load, in sentences, with the way out as code that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import StateDictError
from ..probing import first_line
from ..random_states import random_states_kept
from ..text import few
from .arguments import EXTRA_STATE, check_model
from .asking import Answer, ask, lent_nest, twin
from .diagnosing import diagnose, doubts, why_not_load
from .kinds import why_not_into
from .matching import conflict, match_keys, tensors_of
from .places import module_name
from .remedies import REMEDIES, Situation
from .report import LoadReport, percent
from .unwrapping import unwrap

LOAD = "model.load_state_dict(state_dict)"
LOAD_MATCHING = "from helpers.state_dict import load_matching\n\nreport = load_matching(model, state_dict)"


@dataclass(frozen=True)
class Explanation:
    """Why, and what to do.

    Attributes:
        causes: sentences, the outermost cause first.
        fix: lines of Python over `model` and `state_dict`, with all that they import; "" if no honest ones are known,
            and then the causes say why.
        reach: what these lines did when they were tried on a copy; "" without lines.
    """

    causes: tuple[str, ...]
    fix: str
    reach: str = ""

    def __repr__(self) -> str:
        return "\n".join(filter(None, [*(f"- {cause}" for cause in self.causes), self.reach, self.fix]))


def explain(model: nn.Module, state_dict: Mapping[str, object]) -> Explanation:
    """Why `model.load_state_dict(state_dict)` fails, or that it does not.

    Looks for what is around the tensors (nests, prefixes, wrappers, several copies), for other names, other forms of
    the same numbers (weight_norm, scales, fused attention, the orders of other frameworks), and for other sizes
    (classes, channels, width, depth, positions). Whatever lines are given were run on a copy of the model. Neither
    argument is changed.

    Raises:
        StateDictError: the model has lazy modules, or cannot be copied; `state_dict` is no mapping.
    """
    check_model(model)
    if not isinstance(state_dict, Mapping):
        raise StateDictError(
            f"a state_dict holds tensors by name; this is a {type(state_dict).__name__}: look what lies in it"
        )
    unwrapped = unwrap(model, state_dict)
    if unwrapped.tensors is None:
        return Explanation(tuple(unwrapped.causes), "")
    situation = Situation(
        model, tensors_of(model), state_dict, unwrapped.tensors, unwrapped.causes, unwrapped.lines, unwrapped.extras
    )
    if not unwrapped.lines:
        situation.versions = getattr(state_dict, "_metadata", None) or {}
    loads = _loads(situation)
    for remedy in REMEDIES:
        if loads:
            break
        before = len(situation.lines)
        remedy(situation)
        if situation.hopeless:
            return Explanation(tuple(situation.causes), "")
        if len(situation.lines) > before:
            loads = _loads(situation)
    if loads:
        causes = situation.causes or ["It loads: all names and shapes are the same."]
        return _tried(situation, [*causes, *_spoilt(situation)], LOAD)
    return _with_what_is_left(situation)


def _loads(situation: Situation) -> bool:
    """Whether all of it loads as it is now, and the numbers are plain."""
    try:
        answer = ask(situation.model, situation.all())
    except StateDictError:  # a module's own code for loading: with other names it may go through
        return False
    return answer.is_complete and _why_not_copied(answer) is None


def _spoilt(situation: Situation) -> list[str]:
    """What is said of weights that are no numbers; in buffers, such as masks, infinity is one."""
    parameters = dict(situation.model.named_parameters(remove_duplicate=False))
    spoilt = []
    for key, tensor in situation.tensors.items():
        is_finite = not tensor.is_floating_point() or tensor.is_meta or bool(tensor.isfinite().all())
        if not is_finite and (key in parameters or bool(tensor.isnan().any())):
            spoilt.append(key)
    if not spoilt:
        return []
    return [f"NaN or infinity stands in {few(spoilt)}: the training had failed before this was saved."]


def _why_not_copied(answer: Answer) -> str | None:
    """A sentence on the first tensor that fits and cannot be copied all the same."""
    for key, tensor in answer.taken.items():
        if why := why_not_into(tensor, answer.targets[key]):
            return f"{key} {why}."
    why = conflict(answer)
    return f"{why[0].upper()}{why[1:]}: say which is right, and leave the other out." if why else None


def _with_what_is_left(situation: Situation) -> Explanation:
    """What differs in ways that no line mends, and whether loading the rest makes sense."""
    model, tensors = situation.model, situation.tensors
    causes = list(situation.causes)
    try:
        answer, report = ask(model, situation.versioned(tensors)), match_keys(model, situation.versioned(tensors))
    except StateDictError as error:
        return Explanation((*causes, f"{error}."), "")
    if why := _why_not_copied(answer):
        return Explanation((*causes, why), "")
    found = diagnose(situation, report)
    if why := why_not_load(situation, report, found):
        return Explanation((*causes, why), "")
    causes += [finding.cause for finding in found]
    if any(finding.is_fatal for finding in found):
        return Explanation(tuple(causes), "")
    causes += doubts(situation, found)
    causes += _spoilt(situation)
    if all(module_name(key) in report.half_loaded for key in report.loaded):
        return Explanation((*causes, "Nothing else is left to load."), "")
    lacking = [key for key in model.state_dict() if key.endswith(EXTRA_STATE) and key not in situation.extras]
    if lacking:
        causes.append(f"The checkpoint lacks {few(lacking)}, which modules keep beside tensors: it stays as it is.")
    return _tried(situation, causes or ["All of the model is there; the checkpoint holds more."], LOAD_MATCHING)


def _tried(situation: Situation, causes: list[str], last: str) -> Explanation:
    """The lines, if they run on a copy, and what they reach there."""
    fix = _tidy([*situation.lines, last])
    namespace: dict[str, object] = {"model": twin(situation.model), "state_dict": lent_nest(situation.given)}
    try:
        with random_states_kept(), torch.no_grad():
            exec(fix, namespace)  # made here, and names of the file stand in it as literals only
    except Exception as error:
        return Explanation((*causes, f"Lines that should help stop with {first_line(error)}."), "")
    report = namespace.get("report")
    return Explanation(tuple(causes), fix, _reach(report if isinstance(report, LoadReport) else None))


def _tidy(lines: list[str]) -> str:
    """All lines, with what they import on top."""
    imports, rest = [], []
    for line in "\n".join(lines).splitlines():
        if line.startswith(("import ", "from ")):
            imports.append(line)
        elif line:
            rest.append(line)
    names: dict[str, set[str]] = {}
    for line in imports:
        module, _, found = line.removeprefix("from ").partition(" import ")
        if line.startswith("from "):
            names.setdefault(module, set()).update(found.split(", "))
    plain = sorted({line for line in imports if line.startswith("import ")})
    together = [f"from {module} import {', '.join(sorted(found))}" for module, found in sorted(names.items())]
    head = [*plain, *together]
    return "\n".join([*head, *([""] if head else []), *rest])


def _reach(report: LoadReport | None) -> str:
    if report is None:
        return "Tried on a copy, the last line loads everything."
    stays = [*report.missing, *report.mismatched]
    said = f"Tried on a copy, the lines load {len(report.loaded)} of {len(report.loaded) + len(stays)} tensors"
    said += f" ({percent(report.coverage)} of the numbers)."
    return said + (f" As they were stay {few(stays, 4)}." if stays else "")
