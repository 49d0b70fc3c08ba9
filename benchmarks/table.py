"""What was measured, as Markdown, and which targets that meets."""

from __future__ import annotations

from collections.abc import Mapping

from measure import Figure


class Table:
    """Rows are printed as they come; the targets stand at the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._targets: list[str] = []

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)

    def head(self) -> None:
        self.say("| work | who | wall ms | CPU ms | peak MiB | first / this |")
        self.say("|---|---|--:|--:|--:|--:|")

    def show(self, work: str, figures: Mapping[str, Figure], *, by: str = "wall") -> None:
        """A row for each; the ratio is that of the first to this one, by wall clock or by CPU time."""
        first = getattr(next(iter(figures.values())), by)
        for who, figure in figures.items():
            peak = f"{figure.peak:,.0f}" if figure.peak else ""
            ratio = first / getattr(figure, by)
            self.say(f"| {work} | {who} | {figure.wall * 1e3:,.2f} | {figure.cpu * 1e3:,.2f} | {peak} | {ratio:.2f} |")

    def target(
        self, what: str, found: float, *, at_most: float | None = None, at_least: float | None = None, unit: str
    ) -> None:
        """A figure that is to stay on one side of a bound."""
        bound = at_most if at_most is not None else at_least
        assert bound is not None
        wanted = f"{'at most' if at_most is not None else 'at least'} {bound:g} {unit}"
        met = found <= bound if at_most is not None else found >= bound
        self._targets.append(f"| {what} | {wanted} | {found:,.3g} {unit} | {'yes' if met else 'NO'} |")

    def show_targets(self) -> None:
        self.say("\n| target | wanted | measured | met |")
        self.say("|---|---|--:|---|")
        for line in self._targets:
            self.say(line)
