"""The site from the repository as it is: pages are taken from where they stand, nothing is kept twice.

Taken in: spec/, conformance/*.md, README.md (below docs/index.md), SECURITY.md, CHANGELOG.md, CONTRIBUTING.md, and every
file that one of them links to.  A page of docs/ has a line `<!-- made: NAME -->` where what is made at build time belongs.
Not here: reading Markdown (site_text), what is made (site_pages, site_api).
"""

from __future__ import annotations

import html
import json
import posixpath
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

sys.path.insert(0, str(Path(__file__).parent))
import site_api
import site_pages
import site_text
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer

ROOT = Path(__file__).resolve().parent.parent
TAKEN = ("spec/*.md", "conformance/*.md", "conformance/*/README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
STATIC = ("spec/schemas/*.json", "conformance/*.schema.json")
MADE = {
    "readme": site_pages.readme,
    "requirements": site_pages.requirements,
    "schemas": site_pages.schemas,
    "cli": site_pages.command_line,
    "suite": site_pages.suite,
    "cases": site_pages.cases,
    "api": site_api.library,
}
log = get_plugin_logger("refser")


class Now:
    """What the parts that Markdown calls need to know: all files, the page at hand, where each ID is defined."""

    files: Files
    page: File
    home: dict[str, str] = {}  # noqa: RUF012  # "WH-007" -> "spec/weights-h5.md"

    @classmethod
    def link(cls, code: str) -> str:
        target = cls.files.get_file_from_path(cls.home[code])
        assert target is not None
        return f"{target.url_relative_to(cls.page)}#{code}"


# ------------------------------------------------------------------------------------------------------- which pages there are


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    Now.home = {r.id: f"spec/{r.chapter}" for r in site_pages.all_requirements()}
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "example", "class": "example", "format": example}]
    config.markdown_extensions.append(Ids())  # type: ignore[arg-type]  # Markdown takes an extension as well as a name
    config.nav = navigation()
    return config


def navigation() -> list[dict[str, Any]]:
    """Everything that is there, the specification in its order of reading."""
    first, last = ["README.md", "introduction.md"], ["versions.md", "open-questions.md", "changes.md"]
    order = [*first, *(path.name for path in site_pages.trace.chapters() if path.name not in (*first, *last)), *last]
    suite = ["README.md", "PROTOCOL.md", "RESULTS.md"]
    suite += sorted(path.name for path in (ROOT / "conformance").glob("*.md") if path.name not in suite)
    suite += sorted(path.relative_to(ROOT / "conformance").as_posix() for path in (ROOT / "conformance").glob("*/README.md"))
    made = ["spec/requirements.md", "spec/schemas/index.md"]
    return [
        {"Home": "index.md"},
        {"Specification": [f"spec/{name}" for name in order if (ROOT / "spec" / name).exists()] + made},
        {"Library": "api.md"},
        {"Command line": "cli.md"},
        {
            "Conformance suite": [
                "suite.md",
                *(f"conformance/{name}" for name in suite if (ROOT / "conformance" / name).exists()),
                "cases.md",
            ]
        },
        {"Security": "SECURITY.md"},
        {"Project": ["CHANGELOG.md", "CONTRIBUTING.md"]},
    ]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path in sorted(path for pattern in (*TAKEN, *STATIC) for path in ROOT.glob(pattern)):
        files.append(taken(path, config))
    texts = {file.src_uri: file.content_string for file in files.documentation_pages()}
    texts["index.md"] += (ROOT / "README.md").read_text("utf-8")
    for src_uri, text in texts.items():
        for target in site_text.targets(text):
            path = ROOT / posixpath.normpath(posixpath.join(posixpath.dirname(src_uri), target))
            uri = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
            if uri and path.is_file() and uri != "README.md" and files.get_file_from_path(uri) is None:
                files.append(taken(path, config))
    Now.files = files
    return files


def taken(path: Path, config: MkDocsConfig) -> File:
    uri = path.relative_to(ROOT).as_posix()
    file = File.generated(config, uri, abs_src_path=str(path), inclusion=InclusionLevel.INCLUDED)
    if not path.suffix:
        file.dest_uri = f"{uri}.txt"  # so that a browser shows LICENSE
    return file


# ----------------------------------------------------------------------------------------------------------- what a page holds


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    Now.page = page.file
    markdown = re.sub(r"<!-- made: (\w+) -->", lambda found: MADE[found[1]](), markdown)
    return site_text.prepared(markdown, lambda target: moved(page.file.src_uri, target))


def moved(src_uri: str, target: str) -> str | None:
    """What a link of the repository leads to on the site; None where that is nothing, as with a folder of cases."""
    uri = posixpath.normpath(posixpath.join(posixpath.dirname(src_uri), target))
    if uri == "README.md":
        uri = "index.md"
    elif (ROOT / uri).is_dir():
        if Now.files.get_file_from_path(uri := f"{uri}/README.md") is None:
            return None
    else:
        return target
    return posixpath.relpath(uri, posixpath.dirname(src_uri) or ".")


class IdLink(InlineProcessor):
    """An ID in running text, alone or as code, becomes a link to its requirement."""

    ANCESTOR_EXCLUDES = ("a", "h1", "h2", "h3", "h4", "h5", "h6")

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Any, Any, Any]:
        code = m[1]
        if code not in Now.home:
            if code[:2] in {known[:2] for known in Now.home} and Now.page.src_uri not in ("spec/changes.md", "CHANGELOG.md"):
                log.warning(f"{Now.page.src_uri}: {code} is defined nowhere")
            return None, None, None
        target = posixpath.relpath(Now.home[code], posixpath.dirname(Now.page.src_uri) or ".")  # which MkDocs resolves
        link = Element("a", {"href": f"{target}#{code}", "class": "id"})
        if m[0].startswith("`"):
            inner = Element("code")
            inner.text = site_text.atomic(code)
            link.append(inner)
        else:
            link.text = site_text.atomic(code)
        return link, m.start(0), m.end(0)


class Ids(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(IdLink(rf"(?<![\w#.-])({site_text.ID})(?![\w-])", md), "refser-id", 25)  # after all links
        md.inlinePatterns.register(IdLink(rf"(?<!`)`({site_text.ID})`(?!`)", md), "refser-code-id", 195)  # before code
        md.registerExtension(self)


def example(source: str, language: str, css_class: str, options: Any, md: Markdown, **more: Any) -> str:
    """A block `example`: its JSON, and above it what comes of it."""
    title, body = outcome(source), highlight(source, JsonLexer(), HtmlFormatter(nowrap=True))
    return (
        '<div class="example highlight" data-search-exclude="data-search-exclude">'
        f'<p class="example-title">{title}</p><pre><code>{body}</code></pre></div>'
    )


def outcome(source: str) -> str:
    try:
        found = json.loads(source)
    except ValueError:
        return "Example"
    if "verdict" in found:
        codes = ", ".join(map(id_link, found.get("codes", ())))
        return f"Example: {html.escape(str(found['verdict']))}" + (f", {codes}" if codes else "")
    if "code" in found:
        kind = f" ({html.escape(str(found['kind']))})" if "kind" in found else ""
        return f"Example: refused, {id_link(found['code'])}{kind}"
    return "Example"


def id_link(code: str) -> str:
    code = str(code)
    return f'<a href="{html.escape(Now.link(code))}" class="id">{code}</a>' if code in Now.home else html.escape(code)


def on_post_build(config: MkDocsConfig) -> None:
    """The search splits what is typed at "-", whatever `separator` says, and so finds no ID: told not to, in its own file."""
    workers = list((Path(config.site_dir) / "assets/javascripts/workers").glob("search.*.js"))
    if len(workers) != 1 or "QueryLexer.termSeparator=" not in (text := workers[0].read_text("utf-8")):
        raise PluginError("the search of this mkdocs-material is not the one that docs/hooks.py knows")
    workers[0].write_text(f"{text}\n;lunr.QueryLexer.termSeparator=/\\s+/;\n", "utf-8")
