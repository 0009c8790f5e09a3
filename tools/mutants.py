"""Change the right answer of each exercise in small ways, and list what its check lets pass all the same.

usage: python tools/mutants.py [NUMBER ...]

Each mutant differs from the right answer in one place: a statement is left out, two arguments are exchanged, `<` is
`<=`, a number is one more, a copy is none. A check that lets one pass has a case too few, unless the mutant computes
the same; those are listed below, with the reason. The exercises in which a network is trained take too long.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
import io
import signal
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch

from workbook.exercises import FOLDER, find, numbers
from workbook.exercises.checking import NotAttempted, NotYet

TRAINED = {"9.3", "9.4"}
SECONDS = 20
OTHER_OPERATORS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip

# exercise, line of the mutant -> why it is right all the same
EQUAL: dict[tuple[str, str], str] = {
    ("1.2", "tuple(layer['weights'].ravel()) -> layer['weights'].ravel()"): "a row of two arrays is a pair",
    ("3.4", "zip(first, second, strict=True) -> zip(second, first, strict=True)"): "which comes first means nothing",
    ("3.4", "torch.equal(x, y) -> torch.equal(y, x)"): "which comes first means nothing",
    ("3.4", "True -> False"): "the two networks are equally long",
    ("4.2", "list(places) -> places"): "a tuple serves as well",
    ("4.4", "copy.deepcopy(model).eval() -> copy.deepcopy(model)"): "a copy may run in any mode",
    ("6.3", "without: if len(targets) != len(sources):"): "zip says it by a ValueError, before anything is copied",
    ("6.3", "without: raise ValueError(f'{len(sources)} layers for {len(targets)}')"): "the same",
    ("6.3", "True -> False"): "the lengths were compared before",
    ("6.3", "len(sources) -> sources"): "the text of the error",
    ("6.3", "len(targets) -> targets"): "the text of the error",
    ("6.3", "tuple(source.weight.shape) -> source.weight.shape"): "the text of the error",
    ("6.3", "tuple(target.weight.shape) -> target.weight.shape"): "the text of the error",
    ("6.4", "(guessed | true).sum().item() -> (guessed | true).sum()"): "tensors of one number divide as well",
    ("6.4", "(guessed & true).sum().item() -> (guessed & true).sum()"): "tensors of one number divide as well",
    ("8.1", "without: file.flush()"): "torch.save leaves nothing in the buffer",
}


def functions_of(module: ModuleType) -> list[ast.FunctionDef]:
    """`right`, and the functions of its module that it calls, directly or not."""
    tree = ast.parse(inspect.getsource(module))
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    wanted, found = ["right"], []
    while wanted:
        name = wanted.pop()
        if name in defined and defined[name] not in found:
            without_types(defined[name])
            found.append(defined[name])
            wanted += [node.id for node in ast.walk(defined[name]) if isinstance(node, ast.Name)]
    return found


def without_types(function: ast.FunctionDef) -> None:
    function.returns = None
    for argument in [*function.args.args, *function.args.kwonlyargs]:
        argument.annotation = None


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    changed = copy.deepcopy(node)
    if isinstance(changed, ast.Compare) and type(changed.ops[0]) in OTHER_OPERATORS:
        changed.ops[0] = OTHER_OPERATORS[type(changed.ops[0])]()
        yield changed
    elif isinstance(changed, (ast.BinOp, ast.BoolOp)) and type(changed.op) in OTHER_OPERATORS:
        changed.op = OTHER_OPERATORS[type(changed.op)]()
        yield changed
    elif isinstance(changed, ast.UnaryOp) and isinstance(changed.op, ast.Not):
        yield changed.operand
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, bool):
        yield ast.Constant(not changed.value)
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, (int, float)):
        yield ast.Constant(changed.value + 1)
    elif isinstance(changed, ast.Call):
        if (
            len(changed.args) > 1
            and ast.dump(changed.args[0]) != ast.dump(changed.args[1])
            and not any(isinstance(argument, ast.Starred) for argument in changed.args)
        ):
            exchanged = copy.deepcopy(changed)
            exchanged.args[:2] = exchanged.args[1::-1]
            yield exchanged
        if isinstance(changed.func, ast.Attribute) and not isinstance(changed.func.value, ast.Name):
            yield changed.func.value  # a method less
        elif isinstance(changed.func, ast.Attribute) and changed.func.attr in ("clone", "detach", "copy"):
            yield changed.func.value
        elif len(changed.args) == 1 and not changed.keywords:
            yield changed.args[0]  # no deepcopy, no sum, no list


def mutants_of(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """(the changed line, the changed function), for every place in it."""
    count = sum(1 for _ in ast.walk(function))
    for place in range(count):
        nodes = list(ast.walk(function))
        node = nodes[place]
        for block in ("body", "orelse"):
            statements = getattr(node, block, None)
            if not isinstance(statements, list):
                continue
            for i, statement in enumerate(statements):
                if isinstance(statement, (ast.Return, ast.Pass)) or is_docstring(statement):
                    continue
                mutant = copy.deepcopy(function)
                getattr(list(ast.walk(mutant))[place], block)[i] = ast.Pass()
                yield f"without: {line_of(statement)}", mutant
        for change in changes(node):
            mutant = copy.deepcopy(function)
            replace(mutant, list(ast.walk(mutant))[place], change)
            yield f"{line_of(node)} -> {line_of(change)}", mutant


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def line_of(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0]


def replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                setattr(parent, field, [new if item is old else item for item in value])


def answer_of(module: ModuleType, functions: list[ast.FunctionDef]) -> Any:
    """`right`, made of these functions, which see each other and else what the module has."""
    namespace = dict(vars(module))
    tree = ast.Module([copy.deepcopy(function) for function in functions], type_ignores=[])
    exec(compile(ast.fix_missing_locations(tree), f"<mutant of {module.__name__}>", "exec"), namespace)
    return namespace["right"]


def passes(verify: Any, answer: Any) -> bool:
    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng():
            verify(answer)
    except (NotYet, NotAttempted, Exception):
        return False
    finally:
        signal.alarm(0)
    return True


def survivors(number: str) -> tuple[int, list[str]]:
    """(how many mutants there are, those that pass and are not known to be right)."""
    exercise = find(number)
    module = sys.modules[exercise.verify.__module__]
    functions = functions_of(module)
    tried, left = 0, []
    for i, function in enumerate(functions):
        for line, mutant in mutants_of(function):
            try:
                answer = answer_of(module, [*functions[:i], mutant, *functions[i + 1 :]])
            except Exception:  # it is no program
                continue
            tried += 1
            if passes(exercise.verify, answer) and (number, line) not in EQUAL:
                left.append(line)
    return tried, left


def main() -> None:
    chosen = sys.argv[1:] or [
        number for folder in sorted(FOLDER.glob("lesson_*")) for number in numbers(folder.name[-2:])
    ]
    found = 0
    for number in chosen:
        if number in TRAINED:
            continue
        tried, left = survivors(number)
        print(f"{number}: {tried} mutants, {len(left)} pass", *left, sep="\n    ", flush=True)
        found += len(left)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
