"""The answers in a notebook that came back: for each exercise the code that makes it, and nothing else of the notebook.

So a lesson need not be run to be graded, and what a learner did to one exercise cannot reach another.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

MOST = 5  # answers to one exercise that are looked at, the last ones
HARMLESS_MAGIC = re.compile(r"\A\s*%%(time|timeit|capture|prun)\b.*\n")  # what stands below it is plain Python
CHECK = re.compile(r'^check\("([\d.]+)", (?!wrong)(\w+)\)$', flags=re.M)  # lessons show wrong answers, too


@dataclass(frozen=True)
class Answer:
    """One answer to one exercise.

    Attributes:
        exercise: its number, such as "2.2".
        code: what has to be run for it, in an empty module.
        handed_in: the expression that is handed to `check`, most often the name of a function.
        problem: why it cannot be run; empty if it can.
        cell: the number of its cell among those with code.
    """

    exercise: str
    code: str
    handed_in: str
    problem: str = ""
    cell: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Statement:
    """A statement of a notebook outside of functions.

    Attributes:
        cell: the number of its cell.
        node: itself.
        binds: the names that it defines, assigns or imports.
        uses: what it needs from around it.
        changes: names whose value it changes, as `rules["a"] = 1` and `rules.append(1)` do.
    """

    cell: int
    node: ast.stmt
    binds: frozenset[str]
    uses: frozenset[str]
    changes: frozenset[str]


def asked_in(lesson: NotebookNode) -> dict[str, str]:
    """The exercises of a lesson as it is handed out: number -> the name of the function that is asked for."""
    return dict(check for code in code_of(lesson) for check in CHECK.findall(code))


def code_of(notebook: NotebookNode) -> list[str]:
    """The code cells as plain Python; magics that only measure are left out, others are calls of `get_ipython()`."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [_as_python(HARMLESS_MAGIC.sub("", source)) for source in cells]


def answers_in(notebook: NotebookNode, asked: Mapping[str, str]) -> dict[str, list[Answer]]:
    """The answers to each exercise, the last one of the notebook first; several if its function is defined in several.

    Args:
        notebook: what came back.
        asked: the exercises and the names of their functions, see `asked_in`.

    Returns:
        For every exercise a list, which is empty if the notebook has neither its check nor its function.
    """
    statements, broken = [], {}
    for number, code in enumerate(code_of(notebook)):
        try:
            statements += _statements(number, code)
        except SyntaxError as error:
            broken[number] = (code, f"line {error.lineno} of its cell: {error.msg}")
        except (ValueError, RecursionError, MemoryError) as error:
            broken[number] = (code, f"{type(error).__name__}: {error}")
    return {exercise: _answers(exercise, name, statements, broken) for exercise, name in asked.items()}


def _as_python(source: str) -> str:
    try:
        return TransformerManager().transform_cell(source)
    except Exception:  # what it cannot read is reported when it is parsed
        return source


def _statements(cell: int, code: str) -> list[Statement]:
    return [_statement(cell, node) for node in ast.parse(code).body]


def _statement(cell: int, node: ast.stmt) -> Statement:
    tables = [symtable.symtable(ast.unparse(node), "answer", "exec")]
    outside = tables[0].get_symbols()
    binds = {symbol.get_name() for symbol in outside if symbol.is_assigned() or symbol.is_imported()}
    uses = {symbol.get_name() for symbol in outside if symbol.is_referenced()}
    for table in tables:  # those of functions inside it, which are found on the way
        tables += table.get_children()
        if table is not tables[0]:
            uses |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return Statement(cell, node, frozenset(binds), frozenset(uses), frozenset(_changed(node)))


def _changed(node: ast.stmt) -> set[str]:
    """Names whose value a statement changes in place."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        targets = [node.value.func] if isinstance(node.value.func, ast.Attribute) else []
    elif isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        targets = [node.target]
    elif isinstance(node, ast.Delete):
        targets = node.targets
    found = set()
    for target in targets:
        inside = target
        while isinstance(inside, (ast.Attribute, ast.Subscript)):
            inside = inside.value
        if inside is not target and isinstance(inside, ast.Name):
            found.add(inside.id)
    return found


def _answers(
    exercise: str, name: str, statements: Sequence[Statement], broken: Mapping[int, tuple[str, str]]
) -> list[Answer]:
    found: dict[int, tuple[str, str]] = {}  # cell -> what is handed in there, and what is wrong with it
    for number, (code, error) in broken.items():
        if re.search(rf'check\(\s*["\']{re.escape(exercise)}["\']', code) or re.search(rf"\bdef {name}\b", code):
            found[number] = (name, error)
    for statement in statements:
        if name in statement.binds and _is_function(statement.node):
            found.setdefault(statement.cell, (name, ""))
        handed_in = _checked(statement.node, exercise)
        if handed_in and not handed_in.startswith("wrong"):
            found[statement.cell] = (handed_in, "")
    made = []
    for cell in sorted(found, reverse=True)[:MOST]:
        handed_in, problem = found[cell]
        code = "" if problem else _needed(handed_in, cell, statements)
        answer = Answer(exercise, code, handed_in, problem, cell)
        if answer not in made:
            made.append(answer)
    return made


def _is_function(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda))


def _checked(node: ast.stmt, exercise: str) -> str:
    """What a statement hands to the check of an exercise; nothing if it does not."""
    for call in ast.walk(node):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "check":
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        number = call.args[0] if call.args else given.get("exercise")
        handed_in = call.args[1] if len(call.args) > 1 else given.get("answer")
        if isinstance(number, ast.Constant) and str(number.value) == exercise and handed_in is not None:
            return ast.unparse(handed_in)
    return ""


def _needed(expression: str, cell: int, statements: Sequence[Statement]) -> str:
    """The statements that an expression at the end of a cell depends on, directly or not, in their order."""
    end = sum(statement.cell <= cell for statement in statements)
    chosen: set[int] = set()
    names = set(re.findall(r"[^\W\d]\w*", expression))
    waiting = [(name, end) for name in names]
    seen = set(waiting)
    while waiting:
        name, until = waiting.pop()
        for index in _makers(name, until, statements):
            chosen.add(index)
            statement = statements[index]
            # a function looks its names up when it is called
            when = end if isinstance(statement.node, (ast.FunctionDef, ast.ClassDef)) else index
            new = {(used, when) for used in statement.uses} - seen
            names |= statement.uses
            seen |= new
            waiting += new
    in_order = [statements[index] for index in sorted(chosen)]
    return "\n".join(ast.unparse(node) for node in _without_what_is_not_used(in_order, names))


def _makers(name: str, until: int, statements: Sequence[Statement]) -> list[int]:
    """The statements before one that make a name what it is there.

    If there are none, those below, as a learner may have run the cells in another order.
    """
    before = range(until)
    binding = [i for i in before if name in statements[i].binds] or [
        i for i, statement in enumerate(statements) if name in statement.binds
    ]
    begins = next((i for i in reversed(binding) if _is_new(statements[i], name)), 0)
    if binding and isinstance(statements[begins].node, (ast.Import, ast.ImportFrom)):
        return [i for i in binding if i >= begins]  # calling functions of a module does not change it
    return [i for i, s in enumerate(statements) if i >= begins and (i in binding or (i < until and name in s.changes))]


def _is_new(statement: Statement, name: str) -> bool:
    """Whether what the name was before does not matter any more."""
    node = statement.node
    if isinstance(node, ast.Assign):
        return name not in {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}
    return isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom))


def _without_what_is_not_used(statements: Iterable[Statement], names: set[str]) -> Iterable[ast.stmt]:
    """The statements; of an import of many names, those that are needed. What is of the future comes first."""
    nodes = [statement.node for statement in statements]
    for node in sorted(nodes, key=lambda node: not _is_of_the_future(node)):
        if isinstance(node, ast.ImportFrom) and not _is_of_the_future(node):
            wanted = [alias for alias in node.names if alias.name == "*" or (alias.asname or alias.name) in names]
            yield ast.ImportFrom(node.module, wanted, node.level)
        elif isinstance(node, ast.Import):
            wanted = [a for a in node.names if (a.asname or a.name.split(".")[0]) in names]
            yield ast.Import(wanted)
        else:
            yield node


def _is_of_the_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"
