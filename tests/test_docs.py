"""The site in a real browser: `make docs-test`.  Built by `make docs`, served from site/, nothing from anywhere else."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
CHROMIUM = os.environ.get("REFSER_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ID = re.compile(r"^#### ([A-Z][A-Z0-9]-\d{3}) ", re.MULTILINE)

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
SOURCES = [
    ROOT / "mkdocs.yml",
    *(ROOT / "docs").rglob("*.*"),
    *(ROOT / "spec").glob("*.md"),
    *(ROOT / "conformance").glob("*.md"),
]

if not (SITE / "index.html").exists():
    pytest.skip("no site/: run `make docs`", allow_module_level=True)
if newer := [path for path in SOURCES if path.stat().st_mtime > (SITE / "sitemap.xml").stat().st_mtime]:
    pytest.skip(f"site/ is older than {newer[0].relative_to(ROOT)}: run `make docs`", allow_module_level=True)

PAGES = sorted(path.relative_to(SITE).parent.as_posix() for path in SITE.rglob("index.html"))
CHAPTERS = sorted(path for path in (ROOT / "spec").glob("*.md") if path.stem != "README")
pytestmark = pytest.mark.xdist_group("docs")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium: `apt-get install chromium`, or name one in REFSER_CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'refser[docs]'")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    """A page that has to load without an error, a missing file or a request that leaves the machine."""
    page, wrong = browser.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on("response", lambda reply: wrong.append(f"{reply.status}: {reply.url}") if reply.status >= 400 else None)
    page.on("request", lambda request: None if request.url.startswith(site) else wrong.append(f"elsewhere: {request.url}"))
    yield page
    page.close()
    assert wrong == []


class Html(HTMLParser):
    """What a page says: its anchors, where it leads, and the words that are neither a link nor code nor a heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.leads: list[str] = []
        self.words, self._in, self._main = "", list[str](), 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        self.leads += [value for key in ("href", "src") if (value := given.get(key))]
        if tag in ("article", "a", "code", "script", *HEADINGS):
            self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._in:
            while self._in.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.words += data if self._in == ["article"] else " "


@cache
def html(path: str) -> Html:
    return Html((SITE / path).read_text("utf-8"))


FILES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("index.html"))


@pytest.mark.parametrize("path", FILES)
def test_every_link_leads_somewhere(path: str) -> None:
    """Those that MkDocs does not see too."""
    wrong = []
    for lead in html(path).leads:
        to = urlsplit(urljoin(f"http://site/{path}", lead))
        if to.netloc != "site":
            continue
        target = unquote(to.path).lstrip("/")
        target = f"{target}index.html" if not target or target.endswith("/") else target
        if not (SITE / target).is_file() or (
            to.fragment and not to.fragment.startswith("__") and unquote(to.fragment) not in html(target).anchors
        ):
            wrong.append(lead)
    assert wrong == []


@pytest.mark.parametrize("path", FILES)
def test_every_id_in_running_text_is_a_link(path: str) -> None:
    defined = {code for chapter in CHAPTERS for code in ID.findall(chapter.read_text("utf-8"))}
    assert defined & set(re.findall(r"\b[A-Z][A-Z0-9]-\d{3}\b", html(path).words)) == set()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_loads(page: Any, site: str, path: str) -> None:
    page.goto(f"{site}/{path}/", wait_until="networkidle")
    assert page.locator("article h1").first.is_visible()
    assert page.title()


def test_every_chapter_of_the_specification_is_a_page() -> None:
    assert {path.stem for path in CHAPTERS} <= {path.removeprefix("spec/") for path in PAGES if path.startswith("spec/")}


@pytest.mark.parametrize("path", [path for path in CHAPTERS if ID.search(path.read_text("utf-8"))], ids=lambda path: path.stem)
def test_every_requirement_is_an_anchor(path: Path) -> None:
    text = (SITE / "spec" / path.stem / "index.html").read_text("utf-8")
    found = re.findall(r'<h4 id="([^"]+)"', text)
    assert found == ID.findall(path.read_text("utf-8"))


def test_the_index_has_every_requirement() -> None:
    text = (SITE / "spec/requirements/index.html").read_text("utf-8")
    found = re.findall(r'<td><a class="id" href="[^"]+#([^"]+)">\1</a></td>', text)
    assert sorted(found) == sorted(code for path in CHAPTERS for code in ID.findall(path.read_text("utf-8")))


def test_a_link_to_an_id_lands(page: Any, site: str) -> None:
    page.goto(f"{site}/spec/weights-h5/#WH-007")
    heading = page.locator("[id='WH-007']")
    assert heading.inner_text().startswith("WH-007 Older folders")
    page.wait_for_function("Math.abs(document.getElementById('WH-007').getBoundingClientRect().top) < innerHeight / 2")
    assert is_seen(page, "WH-007")


def test_an_id_in_the_text_leads_to_its_requirement(page: Any, site: str) -> None:
    page.goto(f"{site}/spec/weights-h5/")
    page.locator("[id='WH-004'] + p a.id", has_text="H5-018").click()
    page.wait_for_url(f"{site}/spec/hdf5/#H5-018")
    assert is_seen(page, "H5-018")


def test_an_id_in_the_index_leads_to_its_requirement(page: Any, site: str) -> None:
    page.goto(f"{site}/spec/requirements/")
    rows = page.locator("tbody tr:visible")
    every = rows.count()
    page.locator("input.filter").fill("WH-007 reader")
    assert (rows.count(), every > 100) == (1, True)
    rows.first.locator("a.id").click()
    page.wait_for_url(f"{site}/spec/weights-h5/#WH-007")
    assert is_seen(page, "WH-007")


@pytest.mark.parametrize(("code", "chapter"), [("WH-007", "weights-h5"), ("KZ-003", "keras-zip"), ("sf-001", "safety")])
def test_the_search_finds_an_id(page: Any, site: str, code: str, chapter: str) -> None:
    results = search(page, site, code)
    first = results.locator(".md-search-result__link").first
    assert f"/spec/{chapter}/" in first.evaluate("link => link.href")
    first.click()
    page.wait_for_url(re.compile(rf"/spec/{chapter}/"))
    assert page.locator(f"[id='{code.upper()}']").is_visible()


def test_an_id_is_one_word_for_the_search(page: Any, site: str) -> None:
    """All that is found names it: not what names another requirement of the chapter, or a 007."""
    results = search(page, site, "WH-007")
    linked = results.locator(".md-search-result__link").evaluate_all("links => links.map(link => link.href)")
    assert any("#WH-007" in link for link in linked)
    assert not [link for link in linked if re.search(r"#[A-Z][A-Z0-9]-\d{3}", link) and not names(link, site, "WH-007")]


@pytest.mark.parametrize("words", ["little-endian", "bfloat16", "refser.open", "legacy-h5", "layer_names"])
def test_the_search_finds_words(page: Any, site: str, words: str) -> None:
    assert search(page, site, words).locator(".md-search-result__link").count() > 0


def search(page: Any, site: str, words: str) -> Any:
    page.goto(f"{site}/", wait_until="networkidle")
    page.locator("input[name=query]").click()
    page.keyboard.type(words)
    results = page.locator(".md-search-result")
    results.locator(".md-search-result__link").first.wait_for()
    return results


def names(link: str, site: str, code: str) -> bool:
    """Whether the section of the specification that a result leads to has the ID."""
    chapter, _, anchor = link.removeprefix(f"{site}/spec/").partition("#")
    text = (ROOT / "spec" / f"{chapter.partition('/')[0]}.md").read_text("utf-8")
    section = text.partition(f"\n#### {anchor.partition('?')[0]} ")[2].partition("\n#")[0]
    return code in section or anchor.startswith(code)


def is_seen(page: Any, element: str) -> bool:
    """Whether an element is in the window, and below the header that stays on top."""
    return bool(
        page.evaluate(
            """id => {
                const box = document.getElementById(id).getBoundingClientRect()
                const header = document.querySelector(".md-header").getBoundingClientRect()
                return box.top >= header.bottom - 1 && box.bottom <= innerHeight
            }""",
            element,
        )
    )
