"""Does the `full` preset, 512 px, train and resume on a CPU, and in how much memory?

python data/benchmarks/full_step.py     writes full_step.json and full_step.md beside this script (about half an hour)

By the command line, as users do: a prior takes a step, a restorer starts on it and takes one, and resumes for another;
with each precision, with and without gradient checkpointing. Peak memory is that of the whole process, as Linux counts
it; seconds are of the whole process too, building, reading and writing the checkpoint included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from bfr_lite.evaluation import markdown_table
from bfr_lite.machine import hardware

BATCH = 2
OPTIONS = {
    "float32": ["--precision", "no"],
    "float32, checkpointing": ["--precision", "no", "--gradient-checkpointing"],
    "bfloat16": ["--precision", "bf16"],
    "bfloat16, checkpointing": ["--precision", "bf16", "--gradient-checkpointing"],
}


def train(data: Path, *arguments: object) -> dict[str, float]:
    """Run `bfr-lite train` with the full preset; its seconds and peak memory in GB. Stops everything when it fails."""
    command = [sys.executable, "-m", "bfr_lite", "train", *map(str, arguments), "--preset", "full"]
    command += ["--data", str(data), "--batch", str(BATCH)]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return {"seconds": round(time.perf_counter() - start, 1), "GB": round(usage.ru_maxrss * 1024 / 1e9, 2)}


def main() -> None:
    """Measure, print and write."""
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        prior, data = Path(scratch, "prior"), Path(scratch, "data")
        data.mkdir()
        for number in range(4):
            Image.fromarray(np.rot90(skimage.data.astronaut(), number)).save(data / f"{number}.png")
        for name, options in OPTIONS.items():
            out = Path(scratch, "restorer")
            rows[f"prior, one step, {name}"] = train(
                data, "prior", "--stages", f"512:{BATCH}", *options, "-o", prior, "--r1-gamma", 10
            )
            weights = prior / "prior-full.safetensors"
            for what, images in (("one step", BATCH), ("resumed for another", 2 * BATCH)):
                rows[f"restorer, {what}, {name}"] = train(
                    data, "restorer", "--prior", weights, "--images", images, *options, "-o", out
                )
            for folder in (prior, out):
                shutil.rmtree(folder)
            print(json.dumps(rows, indent=1), flush=True)
    result = {"batch": BATCH, "hardware": hardware(), "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    table = markdown_table(["seconds", "GB"], {name: [f"{one[k]:.1f}" for k in one] for name, one in rows.items()})
    head = f"# One step of the full preset\n\n512 px, {BATCH} pictures a step; {hardware()}. Made by "
    Path(__file__).with_suffix(".md").write_text(f"{head}`python data/benchmarks/full_step.py`.\n\n{table}\n")


if __name__ == "__main__":
    main()
