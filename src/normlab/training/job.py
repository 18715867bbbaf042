"""One run of a sweep, before its data is read; known without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from normlab.config import Settings


@dataclass(frozen=True)
class Job:
    """Settings and folder of a run.

    Attributes:
        settings: checked.
        folder: where it goes.
        num: its number in the sweep.
        overrides: what sets it apart, as on the command line.
        files: what belongs into the folder before training, by names within it.
    """

    settings: Settings
    folder: Path
    num: int
    overrides: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"job {self.num}"

    @property
    def title(self) -> str:
        """The name with the overrides."""
        return f"{self.name} ({' '.join(self.overrides)})"

    def prepare(self) -> None:
        """Makes the folder, with the files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
