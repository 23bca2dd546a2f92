"""What a scenario found, as a value that can be kept in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

Figures = dict[str, dict[str, list[float]]]
"""Server -> figure -> its value in each round."""


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one scenario, all of one run."""

    scenario: str
    figures: Figures
    faults: dict[str, list[str]] = field(default_factory=dict)
    """Server -> what the checker found wrong, and errors that the load saw."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """How long each round lasted."""

    def middle(self, server: str, figure: str) -> float | None:
        """The median over the rounds."""
        values = self.figures.get(server, {}).get(figure)
        return median(values) if values else None

    def ratio(self, figure: str, server: str, other: str) -> float | None:
        """The median of the rounds' ratios: what drifts between rounds drifts for both."""
        ours, theirs = (self.figures.get(name, {}).get(figure) for name in (server, other))
        if not ours or not theirs or not all(theirs):
            return None
        if len(ours) != len(theirs):
            return median(ours) / median(theirs)
        return median(mine / its for mine, its in zip(ours, theirs, strict=True))


def save(result: Result, folder: Path) -> None:
    file = folder / f"{result.scenario}.json"
    file.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")


def load_all(folder: Path) -> dict[str, Result]:
    """The results that a folder holds, by scenario."""
    files = sorted(folder.glob("*.json"))
    results = [Result(**json.loads(file.read_text(encoding="utf-8"))) for file in files]
    return {result.scenario: result for result in results}
