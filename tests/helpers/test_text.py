"""A few names and how many more; tables whose columns stand below one another."""

import html.parser

import pytest

from helpers.text import few, html_table, text_table


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "nothing"),
        (["a"], "a"),
        (["a", "b", "c"], "a, b, c"),
        ("abcde", "a, b, c and 2 more"),
        ([1, None], "1, None"),
    ],
)
def test_a_few_names_and_how_many_more(names, said) -> None:
    assert few(names) == said


def test_how_many_are_named_can_be_chosen() -> None:
    assert few(iter("abc"), 1) == "a and 2 more"


def test_columns_stand_below_one_another() -> None:
    rows = [("name", "numbers", "mode"), ("conv1", "9", "train"), ("fc", "1,024", "")]
    assert text_table(rows, right=[1]) == ["name   numbers  mode", "conv1        9  train", "fc       1,024"]
    assert text_table([]) == []


class Cells(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.cells.append(data)


def test_cells_of_a_table_are_escaped() -> None:
    found = Cells(html_table([("<b>", "a & b")], head=("one", "two")))
    assert found.cells == ["one", "two", "<b>", "a & b"]
    assert found.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]


def test_rows_may_have_a_colour_at_their_edge_and_no_head() -> None:
    text = html_table([("a", "b"), ("c", "d")], colours=["red", "var(--jp-blue)"])
    assert text.count("border-left: 4px solid red") == text.count("border-left: 4px solid var(--jp-blue)") == 1
    assert "<thead>" not in text
    assert Cells(text).cells == ["a", "b", "c", "d"]
