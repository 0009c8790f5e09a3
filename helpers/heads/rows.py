"""Which rows of an old head a new one keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from ..errors import HeadError
from ..layers import whole_number
from ..text import few

Rows = Any  # None; numbers of old rows, also in a tensor or an array; or a dictionary from new rows to old ones


def rows_by_name(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """For `keep`: new row -> old row, for the classes whose names both have.

    Raises:
        HeadError: these are no lists of names, a name occurs twice, or they share none.
    """
    places = [_places(old), _places(new)]
    rows = {row: places[0][name] for name, row in places[1].items() if name in places[0]}
    if not rows:
        beginnings = [*list(places[0])[:2], *list(places[1])[:2]]
        raise HeadError(f"no class has the same name; they begin with {few(beginnings, 4)}")
    return rows


def as_rows(keep: Rows) -> dict[int, int]:
    """New row -> old row.

    Raises:
        HeadError: they are not told by whole numbers, or an old row twice.
    """
    pairs = list(keep.items()) if isinstance(keep, Mapping) else list(enumerate(_numbers(keep)))
    rows: dict[int, int] = {}
    for new, old in pairs:
        new_row, old_row = whole_number(new), whole_number(old)
        if new_row is None or old_row is None:
            wrong = new if new_row is None else old
            mask = isinstance(wrong, bool) or str(wrong) in ("True", "False")
            how = "; of a mask take [row for row, kept in enumerate(mask) if kept]" if mask else ""
            raise HeadError(f"keep takes rows by their numbers, not {wrong!r:.60}{how}")
        if old_row in rows.values():
            raise HeadError(f"keep names the old row {old_row} twice")
        rows[new_row] = old_row
    return rows


def refuse_rows_beyond(limit: int, rows: Iterable[int], what: str, name: str) -> None:
    """Raises a HeadError for a row that a head with `limit` rows does not have."""
    for row in rows:
        if not 0 <= row < limit:
            raise HeadError(f"there is no {what} row {row} in {name!r}; rows go from 0 to {limit - 1}")


def _numbers(keep: Rows) -> list[Any]:
    """The numbers in a sequence, a tensor or an array of one dimension."""
    if keep is None:
        return []
    wrong = isinstance(keep, str | bytes | Set) or getattr(keep, "ndim", 1) != 1 or getattr(keep, "is_meta", False)
    if wrong or not isinstance(keep, Iterable):
        raise HeadError(f"keep must be numbers of rows in their order, or a dictionary of them, not {keep!r:.60}")
    return keep.tolist() if hasattr(keep, "tolist") else list(keep)


def _places(names: Sequence[str]) -> dict[str, int]:
    """name -> row."""
    if isinstance(names, str | bytes | Mapping | Set) or not isinstance(names, Iterable):
        raise HeadError(f"names must be a list in the order of the rows, not {names!r:.60}")
    places: dict[str, int] = {}
    for row, name in enumerate(names):
        if not isinstance(name, str):
            raise HeadError(f"the name of a class must be text, not {name!r:.60}")
        if name in places:
            raise HeadError(f"the class {name!r} occurs twice")
        places[name] = row
    return places
