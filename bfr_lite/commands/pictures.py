"""Picture files in, picture files out: what the commands that work on pictures share."""

from __future__ import annotations

import argparse
import glob
import json
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from bfr_lite.commands import printable
from bfr_lite.files import PICTURE_SUFFIXES

Job = tuple[Path, Path]  # the picture to read, the picture to write
# Of one picture, for the JSON report; "summary", a line, is told in the plain one, too.
Facts = dict[str, object]
Outcome = tuple[Job, Facts | Exception]
FAILURES = (ValueError, OSError, RuntimeError, MemoryError)  # what a picture can do to us; other errors are ours


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments INPUT..., --output, --overwrite and --json."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="picture, folder (without subfolders), or pattern"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="gets the PNG files")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--json", action="store_true", help="report on stdout as JSON")


def plan(inputs: Sequence[Path], folder: Path, overwrite: bool) -> list[Job]:
    """Every picture among ``inputs`` (files, folders, patterns such as ``*.jpg``) with its PNG in ``folder``.

    The PNG has the picture's name, so `a.jpg` becomes `a.png`; where `a.tif` is among them, too, `a.jpg.png`.

    Raises FileNotFoundError for an input that is not there and for a folder without pictures; ValueError
    where two pictures would become one file, one would replace itself, or a file must be kept.
    """
    jobs: list[Job] = []
    meeting: dict[str, Path] = {}  # to see two that become one file
    sources = dict.fromkeys(picture for path in inputs for picture in _pictures(path))
    stems = Counter(_on_any_disk(source.stem) for source in sources)
    for source in sources:
        target = folder / f"{source.stem if stems[_on_any_disk(source.stem)] == 1 else source.name}.png"
        name = _on_any_disk(target.name)
        if name in meeting:
            both = f"{meeting[name]} and {source}"
            raise ValueError(f"{both} would both become {target}, at least on some disks: rename one")
        meeting[name] = source
        if target.exists() and target.samefile(source):
            raise ValueError(f"{target} would replace the picture it is made from: choose another --output")
        jobs.append((source, target))
    taken = [target for _, target in jobs if target.exists()]
    if taken and not overwrite:
        raise ValueError(
            f"{len(taken)} of {len(jobs)} outputs exist, the first is {taken[0]}: "
            "choose another --output, or replace them with --overwrite"
        )
    return jobs


def _on_any_disk(name: str) -> str:
    """A name as disks see it that hold a.png or A.png, but not both, or take two ways to write é for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _pictures(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if _is_picture(file))
        if not found:
            raise FileNotFoundError(f"no pictures directly in {path}: looked for {', '.join(PICTURE_SUFFIXES)}")
        return found
    if path.exists():
        return [path]
    # A pattern in quotes comes as it is, as does any under Windows; `**` goes down into folders.
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
    if not found:
        raise FileNotFoundError(f"no such picture, folder or pattern: {path}")
    return found


def _is_picture(file: Path) -> bool:
    """Hidden files are none: macOS leaves a `._a.jpg` beside `a.jpg` on disks of other systems."""
    return file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def one_by_one(jobs: Iterable[Job], work: Callable[[Path, Path], Facts]) -> Iterator[Outcome]:
    """Do every job. One of `FAILURES` in ``work`` fails that picture alone."""
    for source, target in jobs:
        started = time.perf_counter()
        try:
            facts = work(source, target)
            yield (source, target), {"seconds": round(time.perf_counter() - started, 3), **facts}
        except FAILURES as error:
            yield (source, target), error


def process(jobs: Sequence[Job], do: Callable[[Iterable[Job]], Iterator[Outcome]], verb: str, as_json: bool) -> int:
    """``do`` the jobs, report, and return the exit code. ``verb`` labels the progress bar."""
    for folder in {target.parent for _, target in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    written: list[Facts] = []
    failed: list[Facts] = []
    for (source, target), outcome in tqdm(do(jobs), verb, len(jobs), unit="picture", delay=1, disable=None):
        if isinstance(outcome, Exception):
            failed.append({"input": str(source), "error": str(outcome) or type(outcome).__name__})
        else:
            written.append({"input": str(source), "output": str(target), **outcome})
    if as_json:
        print(json.dumps({"written": written, "failed": failed}, indent=2))
    else:
        _report(written, failed)
    return 1 if failed else 0


def _report(written: Sequence[Facts], failed: Sequence[Facts]) -> None:
    for fact in written:
        told = ", ".join(filter(None, [fact.get("summary"), f"{fact['seconds']:.2f} s"]))
        print(printable(f"{fact['input']} -> {fact['output']}: {told}"))
    for fact in failed:
        print(printable(f"failed: {fact['input']}: {fact['error']}"), file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {len(written) + len(failed)} pictures failed", file=sys.stderr)
