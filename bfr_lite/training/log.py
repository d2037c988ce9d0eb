"""The log of a run: a row of means every some steps, in a CSV that anybody can read while it grows."""

from __future__ import annotations

import csv
import time
from itertools import count
from pathlib import Path

from bfr_lite.files import atomic_path


def whole_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log; a last one that a kill or a full disk has cut is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return list(csv.DictReader(line for line in lines if line.endswith("\n")))


class CsvLog:
    """Means of what the steps report, one row every `log_every` steps; rows after the resumed step are dropped.

    A log of which no row is as old as the checkpoint, or that is none of ours, is moved aside.
    """

    def __init__(self, path: Path, keep_until: int):
        self.path = path
        self.sums: dict[str, list[float]] = {}
        self.since = time.monotonic()
        if path.exists():
            try:
                rows = whole_rows(path)
                kept = [row for row in rows if 0 < int(row.get("step") or 0) <= keep_until]
            except ValueError:
                kept = []
            if not kept:
                path.replace(_free_name(path))
            elif len(kept) + 1 < len(path.read_text(encoding="utf-8").splitlines()):
                self._rewrite(kept, list(rows[0]))

    def add(self, values: dict[str, float]) -> None:
        """Note what one step reported."""
        for name, value in values.items():
            self.sums.setdefault(name, []).append(float(value))

    def write(self, step: int, images: int) -> dict[str, str]:
        """Append a row of means since the last one, and return it for a progress bar."""
        means = {name: f"{sum(values) / len(values):.6g}" for name, values in self.sums.items()}
        row = {"step": step, "images": images, "seconds": f"{time.monotonic() - self.since:.1f}", **means}
        header = list(csv.DictReader(self.path.open(encoding="utf-8")).fieldnames or []) if self.path.exists() else []
        if set(row) - set(header):
            rows = list(csv.DictReader(self.path.open(encoding="utf-8"))) if header else []
            self._rewrite([*rows, row], header + [name for name in row if name not in header])
        else:
            with self.path.open("a", newline="", encoding="utf-8") as handle:
                csv.DictWriter(handle, header).writerow(row)
        self.sums, self.since = {}, time.monotonic()
        return means

    def _rewrite(self, rows: list[dict], header: list[str]) -> None:
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, header)
            writer.writeheader()
            writer.writerows(rows)


def _free_name(path: Path) -> Path:
    """`path` with .old, .old2, ... behind its name: the first that is not taken."""
    names = (path.with_name(f"{path.name}.old{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not name.exists())
