"""What differs between a checkpoint and a model that no renaming mends, and what it means for loading the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .depth import depth, one_more, recurrent_layers
from .findings import Finding, some
from .numbering import doubtful_numbers, renumbered_families
from .one_side import only_here
from .places import Where, module_name
from .remedies import Situation
from .renames import modules_of
from .report import LoadReport
from .sizes import LOOKS

FEW = 2  # layers of other shapes; if there are more, it is another network


def diagnose(situation: Situation, report: LoadReport) -> list[Finding]:
    """All differences, each key in one of them."""
    where = _where(situation, report)
    left = dict(report.mismatched)
    missing, unexpected = list(report.missing), list(report.unexpected)
    found = [*depth(situation, missing, unexpected, where), *recurrent_layers(missing, unexpected)]
    found += one_more(situation, left, where)
    explained = {key for finding in found for key in finding.keys}
    left = {key: shapes for key, shapes in left.items() if key not in explained}
    for look in LOOKS:
        for finding in look(left, where):
            found.append(finding)
            left = {key: shapes for key, shapes in left.items() if key not in finding.keys}
    if left:
        key, (in_checkpoint, in_model) = next(iter(left.items()))
        layers = {module_name(key) for key in left}
        are_few = (len(layers) <= FEW and not situation.guessed) or all(where.is_end(name) for name in layers)
        fate = "They stay as they are, random in a new model: train them." if are_few else "Build the model alike."
        found.append(
            Finding(
                f"Other shapes in {some(layers)}, for instance {key}: {in_checkpoint} in the checkpoint, {in_model} "
                f"here. {fate}",
                set(left),
                is_fatal=not are_few,
                is_known=False,
            )
        )
    explained = {key for finding in found for key in finding.keys}
    found += only_here([key for key in missing if key not in explained], "the model", situation, where)
    found += only_here([key for key in unexpected if key not in explained], "the checkpoint", situation, where)
    return found


def _where(situation: Situation, report: LoadReport) -> Where:
    loaded = {module_name(key) for key in report.loaded}
    others = {module_name(key) for key in (*report.missing, *report.mismatched)}
    return Where(situation.model, situation.in_model, loaded - others, loaded)


def doubts(situation: Situation, found: Iterable[Finding]) -> Iterator[str]:
    """Why equal names and shapes may be different layers all the same."""
    explained = {module_name(key) for finding in found for key in finding.keys if finding.is_end}
    doubtful = doubtful_numbers(modules_of(situation.tensors), modules_of(situation.in_model))
    extra = {name for names in doubtful.values() for name in names} - explained
    if extra:
        yield (
            f"Only one side has {some(extra)}, of the same shapes as {some(doubtful)}. Numbers in names are "
            "positions: if a layer was inserted before the end, equal names may be different layers. Compare outputs."
        )


def why_not_load(situation: Situation, report: LoadReport, found: Iterable[Finding]) -> str | None:
    """Why nothing can be said of single tensors, and loading what fits would be a guess; None if it would not."""
    counted = _counted(report.loaded)
    understood = {key for finding in found for key in finding.keys if finding.is_known and key in report.mismatched}
    of_checkpoint = _counted(situation.tensors)
    if 2 * len([*counted, *understood]) < min(len(of_checkpoint), len(_counted(situation.in_model))):
        is_sorted = len(of_checkpoint) > 2 and list(situation.tensors) == sorted(situation.tensors)
        more = " Its names were sorted, so their order says nothing." if is_sorted else ""
        return (
            f"It may be another architecture: only {len(counted)} of {len(of_checkpoint)} tensors can be paired by "
            f"name, shape and order{_beside(situation)}.{more}"
        )
    if moved := renumbered_families(modules_of(situation.tensors), modules_of(situation.in_model)):
        return f"Numbers differ on both sides ({some(moved)}), so equal names may be different layers."
    return None


def _beside(situation: Situation) -> str:
    """A name of each side that the other has not."""
    there = next((key for key in situation.tensors if key not in situation.in_model), "")
    here = next((key for key in situation.in_model if key not in situation.tensors), "")
    return f"; the checkpoint has {there}, the model {here}" if there and here else ""


def _counted(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if not key.endswith("num_batches_tracked")]
