"""A solution in the place of a lesson's dots, between the marks that nbgrader looks for."""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator, Mapping, Sequence
from textwrap import dedent, indent

from .errors import ExportError

DOTS = re.compile(r"^( +)\.\.\.$", flags=re.M)


def merge(stub: str, solution: str, answer: str, extra: Mapping[str, str]) -> str:
    """The lesson's cell with the solution in the place of its dots, between nbgrader's marks.

    All that the lesson lacks goes between them, also imports and other functions that the solution uses, so that
    putting dots there again gives the lesson's cell.

    Args:
        stub: a cell with one function that has a line of dots.
        solution: a cell that defines the same function.
        answer: the function's name.
        extra: what the solution may use and the lesson does not define, see `definitions`.

    Raises:
        ExportError: there is no function with one line of dots, no solution, or it takes other arguments.
    """
    asked, solved = _functions(stub, answer), _functions(solution, answer)
    if len(asked) != 1 or len(DOTS.findall(stub)) != 1:
        raise ExportError(f"the lesson should define {answer} in the cell that checks it, with one line of dots")
    if len(solved) != 1 or ast.dump(solved[0].args) != ast.dump(asked[0].args):
        raise ExportError(f"the solutions should define {answer} once, with the arguments of the lesson")
    needed = _needed(_lines(solution, solved[0]), {name: extra[name] for name in extra if name != answer})
    imports = [lines for lines in needed if lines.startswith(("import ", "from "))]
    others = [lines for lines in needed if lines not in imports]
    inside = "\n\n".join(filter(None, ["\n".join(imports), *others, _body(solution, solved[0])]))
    region = f"### BEGIN SOLUTION\n{inside}\n### END SOLUTION"
    return DOTS.sub(lambda dots: indent(region, dots[1]), stub)


def definitions(cells: Sequence[str]) -> dict[str, str]:
    """Name -> the lines that define it, for all that cells import or define outside of functions."""
    return {name: lines for code in cells for node in ast.parse(code).body for name, lines in _defined(code, node)}


def _functions(code: str, name: str) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef) and node.name == name]


def _body(code: str, function: ast.FunctionDef) -> str:
    """What stands below a function's docstring; if it has none, or has decorators, all of the function and a call."""
    if function.decorator_list or ast.get_docstring(function) is None:
        arguments = ", ".join(argument.arg for argument in function.args.args)
        return f"{_lines(code, function)}\n\nreturn {function.name}({arguments})"
    return dedent("\n".join(code.splitlines()[function.body[0].end_lineno : function.end_lineno]))


def _lines(code: str, node: ast.stmt) -> str:
    """The lines of a statement, with its decorators."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return "\n".join(code.splitlines()[first - 1 : node.end_lineno])


def _defined(code: str, node: ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Import():
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], ast.unparse(ast.Import([alias]))
        case ast.ImportFrom():
            for alias in node.names:
                yield alias.asname or alias.name, ast.unparse(ast.ImportFrom(node.module, [alias], node.level))
        case ast.FunctionDef() | ast.ClassDef():
            yield node.name, _lines(code, node)
        case ast.Assign(targets=[ast.Name(id=name)]):
            yield name, _lines(code, node)


def _needed(code: str, extra: Mapping[str, str]) -> list[str]:
    """The definitions that a function takes from around it, directly or not, in their order."""
    found: set[str] = set()
    waiting = [code]
    while waiting:
        new = (global_names(waiting.pop()) & extra.keys()) - found
        found |= new
        waiting += [extra[name] for name in new]
    return [lines for name, lines in extra.items() if name in found]


def global_names(code: str) -> set[str]:
    """The names that a cell or a function uses or binds, but for arguments and local variables."""
    tables = [symtable.symtable(code, "solution", "exec")]
    for table in tables:
        tables += table.get_children()
    return {symbol.get_name() for table in tables for symbol in table.get_symbols() if symbol.is_global()}
