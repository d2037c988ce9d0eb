"""Run copies of the notebooks and make HTML pages of them, with an index; the notebooks stay as they are.

python notebooks/build.py --output build --picture build/before_after.png
python notebooks/build.py --in-place notebooks/07_evaluation.ipynb   (to commit it: outputs, time and memory)
"""

from __future__ import annotations

import argparse
import html
import os
import re
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from pages import page

HERE = Path(__file__).parent
CELL_TIMEOUT = 600  # seconds; the tests allow 120, but a laptop that does something else may take ten times as long

INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>bfr_lite</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
  a {{ color: light-dark(#1a5fb4, #8ab4f8); }}
  img {{ max-width: 100%; }}
  ul {{ list-style: none; padding: 0; }}
  li {{ margin: .8rem 0; }}
  li a {{ font-weight: 600; }}
</style>
<h1>bfr_lite</h1>
<p>Blind face restoration: repairing degraded face photos, taught by building a whole system step by step.</p>
{picture}
<ul>
{entries}
</ul>
</html>
"""


class Client(NotebookClient):
    """A client that remembers the kernel's peak memory, in bytes, where the system tells it (Linux)."""

    peak_memory: int | None = None

    def set_widgets_metadata(self) -> None:
        """The last thing done while the kernel is there."""
        super().set_widgets_metadata()
        status = Path(f"/proc/{self.km.provisioner.pid}/status")
        if status.exists() and (line := re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))):
            self.peak_memory = int(line[1]) * 1024


def title(notebook: nbformat.NotebookNode, default: str) -> str:
    """The first heading of a notebook, without Markdown's marks."""
    headings = (re.search(r"^# +(.+)$", cell.source, re.MULTILINE) for cell in notebook.cells)
    return next((re.sub(r"[*`_]", "", found[1]) for found in headings if found), default)


def question(notebook: nbformat.NotebookNode) -> str:
    """What a notebook asks, in bold below its title, without Markdown's marks; "" when it asks nothing."""
    found = re.search(r"^\*\*(.+?)\*\*$", notebook.cells[0].source, re.MULTILINE | re.DOTALL)
    return re.sub(r"[*`_]|\]\([^)]*\)|\[", "", " ".join(found[1].split())) if found else ""


def index(series: dict[str, tuple[str, str]], picture: str) -> str:
    """The first page. `series`: title and question of every page by its name; `picture`: HTML."""
    entries = "\n".join(
        f'<li><a href="{stem}.html">{html.escape(name)}</a><br>{html.escape(asks)}</li>'
        for stem, (name, asks) in series.items()
    )
    return INDEX.format(picture=picture, entries=entries)


def execute(path: Path, target: Path) -> tuple[nbformat.NotebookNode, str]:
    """Run the notebook at `path` in its own folder, keep the executed copy at `target`, say how that went."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = Client(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources=resources,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # of others: time means little on a busy machine
    start, outcome = time.perf_counter(), "ok"
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        outcome = "FAILED"
        print(f"{path.name}: {error}", file=sys.stderr)
    seconds = time.perf_counter() - start
    notebook.metadata.pop("measured", None)
    if outcome == "ok" and client.peak_memory is not None:
        measured = {
            "seconds": round(seconds, 1),
            "gigabytes": round(client.peak_memory / 1e9, 2),
            "load": round(load, 1),
        }
        notebook.metadata["measured"] = measured
    nbformat.write(notebook, target)
    memory = "-" if client.peak_memory is None else f"{client.peak_memory / 1e9:.2f} GB"
    return notebook, f"{path.name:<40} {seconds:6.1f} s {memory:>9}  {outcome}"


def commit(paths: list[Path]) -> int:
    """Run notebooks as readers do, without BFR_LITE_DATA, and put back those that ran through; 1 when one failed."""
    os.environ.pop("BFR_LITE_DATA", None)
    failed = False
    for path in paths:
        fresh = path.with_suffix(".running")  # a notebook that fails stays as it was
        line = execute(path, fresh)[1]
        if line.endswith("FAILED"):
            fresh.unlink()
            failed = True
        else:
            fresh.replace(path)
        print(line, flush=True)
    return int(failed)


def main() -> int:
    """Build everything, print time and memory of each notebook; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: the whole series")
    parser.add_argument("--output", type=Path, default=Path("build"), help="gets html/ and notebooks/")
    parser.add_argument("--picture", type=Path, help="picture for the index")
    parser.add_argument("--in-place", action="store_true", help="run the notebooks themselves; no pages")
    args = parser.parse_args()
    if args.in_place:
        return commit(args.notebooks or sorted(HERE.glob("0*.ipynb")))
    pages, copies = args.output / "html", args.output / "notebooks"
    paths = args.notebooks or sorted(HERE.glob("0*.ipynb"))
    if any((copies / path.name).resolve() == path.resolve() for path in paths):
        sys.exit(f"--output {args.output} would put copies in the place of the notebooks: name another folder")
    for folder in (pages, copies):
        folder.mkdir(parents=True, exist_ok=True)
    read = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    told = {stem: (title(notebook, stem), question(notebook)) for stem, notebook in read.items()}
    told["glossary"] = ("Glossary", "Every term of the series, and where it is explained.")
    series = {stem: name for stem, (name, _) in told.items()}
    table = []
    for path in paths:
        print(f"running {path.name}", flush=True)
        notebook, line = execute(path, copies / path.name)
        (pages / f"{path.stem}.html").write_text(page(notebook, path.stem, series), encoding="utf-8")
        table.append(line)
    glossary = nbformat.v4.new_markdown_cell((HERE / "glossary.md").read_text(encoding="utf-8"))
    words = page(nbformat.v4.new_notebook(cells=[glossary]), "glossary", series)
    (pages / "glossary.html").write_text(words, encoding="utf-8")
    picture = ""
    if args.picture:
        shutil.copyfile(args.picture, pages / args.picture.name)
        picture = f'<p><img src="{args.picture.name}" alt="Faces before and after restoration"></p>'
    first = pages / "index.html"
    first.write_text(index(told, picture), encoding="utf-8")
    print("\n".join([*table, f"open {first}"]))
    return 1 if any(line.endswith("FAILED") for line in table) else 0


if __name__ == "__main__":
    sys.exit(main())
