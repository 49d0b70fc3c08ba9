"""Are the files there that the config's layers look for?

Spec: spec/weights-fit.md (WT-047).  Keras: `load_assets`.  Not here: what stands in them (vocabularies).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from refser.checks._fitting import Places, Vague, brief, prefixes, some
from refser.checks.report import Finding, error, warning
from refser.checks.subject import Subject
from refser.checks.vocabularies import check_vocabularies
from refser.rules.tree import WeightTree


def check_assets(subject: Subject, tree: WeightTree) -> Iterator[Finding]:
    file, at, vague = subject.file, Places(subject.file), Vague(tree.opaque)
    if "assets" in file.unread:
        return
    missing = [name for name in tree.assets if name not in file.assets and not vague.covers(name)]
    for names in _by_owner(missing):
        message = f"no asset {some(map(brief, names), len(names))}; wanted it, as the layer's config has no vocabulary"
        yield error("WT-047", message, at.asset(names[0]))
    wanted = set(tree.assets)
    if extra := [name for name in file.assets if name not in wanted and not vague.covers(name)]:
        message = f"{some(map(brief, extra), len(extra))}, which no layer of the config looks for; Keras leaves it alone"
        yield warning("WT-047", message, at.asset(extra[0]))
    yield from check_vocabularies(subject)


def _by_owner(assets: Iterable[str]) -> list[list[str]]:
    """A layer's assets with those of the layers in it: TextVectorization has its vocabulary twice."""
    found: dict[str, list[str]] = {}
    for asset in assets:
        folder = asset.rpartition("/")[0]
        owner = next((above for above in prefixes(folder) if above in found), folder)
        found.setdefault(owner, []).append(asset)
    return list(found.values())
