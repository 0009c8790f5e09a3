"""How messages and reports look: a few names and how many more, tables, and text that a terminal may show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape

LEFT = 'style="text-align: left"'  # Jupyter aligns cells right


def few(names: Iterable[object], at_most: int = 3) -> str:
    """a, b, c and 4 more; "nothing" if there are none."""
    listed = [str(name) for name in names]
    more = len(listed) - at_most
    shown = ", ".join(listed[:at_most]) or "nothing"
    return f"{shown} and {more} more" if more > 0 else shown


def text_table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Lines in which the columns stand below one another.

    Args:
        rows: all of the same length, the head among them.
        right: numbers of columns that are aligned right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def html_table(rows: Sequence[Sequence[str]], head: Sequence[str] = (), colours: Sequence[str] = ()) -> str:
    """A table as Jupyter shows it.

    Args:
        rows: texts, which are escaped.
        head: titles of the columns, if there are any.
        colours: for each row the colour of its left edge, in CSS, if there are any.
    """
    titles = "".join(f"<th {LEFT}>{escape(title)}</th>" for title in head)
    body = []
    for place, row in enumerate(rows):
        cells = [f"<td {LEFT}>{escape(cell)}</td>" for cell in row]
        if colours:
            edge = f'style="text-align: left; border-left: 4px solid {colours[place]}"'
            cells[0] = f"<td {edge}>{escape(row[0])}</td>"
        body.append(f"<tr>{''.join(cells)}</tr>")
    above = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return f"<table>{above}<tbody>{''.join(body)}</tbody></table>"


def plain(text: str) -> str:
    """Text without what would move a terminal's cursor, change its colours or turn its direction."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
