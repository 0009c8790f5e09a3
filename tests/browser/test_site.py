"""The book of `make site`: built from the stored notebooks, read from the disk, with nobody else asked for anything."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
from jupyter import AXE, FLAGS, find_browser
from playwright.sync_api import Browser, Page, expect

from tools import build_site
from workbook.places import NOTEBOOKS

LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb"))
PAGES = ["index", *LESSONS, "recipes", "helpers"]
COLAB = "https://colab.research.google.com"


def build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for place, name in (("SOURCE", "source"), ("BOOK", "site"), ("COLAB", "colab")):
        monkeypatch.setattr(build_site, place, folder / name)
    build_site.main()
    return folder / "site"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if importlib.util.find_spec("sphinx") is None:
        assert os.environ.get("SITE_TESTS") != "required", "SITE_TESTS=required, but there is no Sphinx"
        pytest.skip("there is no Sphinx: python tools/setup.py site")
    with pytest.MonkeyPatch.context() as patch:
        yield build(tmp_path_factory.mktemp("build"), patch)


class Links(HTMLParser):
    """What a page refers to, and what in it can be referred to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.anchors: set[str] = set()
        self.without_text: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        elif (source := given.get("src") or given.get("href")) and tag in ("img", "script", "link", "iframe"):
            self.sources.append(source)
        if tag == "img" and not given.get("alt") and "aria-hidden" not in given:
            self.without_text.append((given.get("src") or "")[:60])


def test_all_pages_are_there_and_all_links_lead_somewhere(book) -> None:
    found = {path: Links(path) for path in book.rglob("*.html")}
    assert {f"{name}.html" for name in PAGES} <= {path.name for path in found}
    broken, checked = [], 0
    for page, links in found.items():
        for link in (*links.links, *links.sources):
            address, anchor = urldefrag(urljoin(page.as_uri(), link))
            if urlparse(address).scheme != "file":
                continue
            checked += 1
            target = Path(unquote(urlparse(address).path))
            known = found[target].anchors if target in found else set()
            if not target.exists() or (anchor and target in found and unquote(anchor) not in known):
                broken.append(f"{page.name}: {link}")
    assert broken == []
    assert checked > 1000


def test_nothing_is_fetched_from_elsewhere_and_every_picture_has_a_text(book) -> None:
    for path in book.rglob("*.html"):
        page = Links(path)
        assert [source for source in page.sources if urlparse(source).scheme in ("http", "https")] == [], path.name
        assert page.without_text == [], path.name


def test_each_recipe_has_an_anchor_of_its_own(book) -> None:
    anchors = Links(book / "recipes.html").anchors
    assert {"Weights-only-load-failed", "size-mismatch-for-fc.weight", "My-keys-have-other-names"} <= anchors


@pytest.fixture(scope="module")
def reader(browser: Browser) -> Iterator[Browser]:
    """A browser of its own, without the proxy of the other tests, so that each request can be seen."""
    found = browser.browser_type.launch(executable_path=find_browser(), args=FLAGS)
    yield found
    found.close()


@pytest.fixture(params=["light", "dark"])
def page(reader: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = reader.new_page(color_scheme=request.param, viewport={"width": 1300, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    assert [url for url in asked if urlparse(url).scheme not in ("file", "data")] == []


def test_axe_finds_nothing(book, page) -> None:
    found = []
    for name in ("index", LESSONS[0], LESSONS[3], "recipes", "helpers"):
        page.goto((book / f"{name}.html").as_uri())
        page.add_script_tag(path=AXE)
        violations = page.evaluate(
            "async () => (await axe.run({resultTypes: ['violations']})).violations.flatMap(({id, nodes}) => "
            "nodes.map(node => `${id}: ${node.html.slice(0, 160)}`))"
        )
        found += [f"{name}: {violation}" for violation in violations]
    assert found == []


def test_a_reader_clicks_and_searches(book, page) -> None:
    page.goto((book / "index.html").as_uri())
    page.get_by_role("link", name="02 · Load all of a state_dict").first.click()
    expect(page.get_by_role("heading", name="02 · Load all of a state_dict")).to_be_visible()
    page.get_by_role("link", name="lesson 03").first.click()
    expect(page).to_have_url((book / "03_load_the_part_that_fits.html").as_uri())
    expect(page.locator(".copybtn").nth(5)).to_be_attached()
    page.get_by_role("textbox", name="Search").first.fill("bilinear")
    page.keyboard.press("Enter")
    expect(
        page.locator("#search-results").get_by_role("link", name="06 · Turn VGG16 into an FCN").first
    ).to_be_visible()


def test_colab_is_offered_once_the_address_is_known(tmp_path, monkeypatch) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.setattr(build_site, "repository", lambda: "https://github.com/somebody/weights.git")
    monkeypatch.setattr(build_site, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "notebooks").mkdir()
    for name in ("02_load_all_of_a_state_dict.ipynb", "recipes.ipynb"):
        shutil.copy(NOTEBOOKS / name, tmp_path / "notebooks")
    monkeypatch.setattr(build_site, "make_book", lambda: None)
    build(tmp_path, monkeypatch)
    lesson = build_site.nbformat.read(tmp_path / "source/02_load_all_of_a_state_dict.ipynb", as_version=4)
    address = f"{COLAB}/github/somebody/weights/blob/gh-pages/colab/02_load_all_of_a_state_dict.ipynb"
    assert lesson.cells[1].source == f"[Open in Colab]({address})"
    first, *others = build_site.nbformat.read(tmp_path / "colab/02_load_all_of_a_state_dict.ipynb", as_version=4).cells
    assert "git clone --quiet --depth 1 https://github.com/somebody/weights.git" in first.source
    assert not any(cell.get("outputs") for cell in others)
