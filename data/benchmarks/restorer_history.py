"""How did the restorer's benchmark change from training to training? Read from git, whose history has every result.

python data/benchmarks/restorer_history.py      writes restorer-lite-history.csv beside this script; needs a whole clone

A state counts when the result and the weights' card of one commit name the same weights, and the card says how many
pictures they have seen in all.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

from bfr_lite.benchmark import Benchmark

ROOT = Path(__file__).parents[2]
RESULT, CARD = "data/benchmarks/restorer-lite.json", "bfr_lite/weights/restorer-lite.json"
OUTPUT = Path(__file__).with_name("restorer-lite-history.csv")
COLUMNS = ("PSNR_dB", "SSIM_percent", "features_percent", "landmarks_percent", "identity_percent")


def git(*arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True).stdout


def states() -> dict[str, tuple[int, Benchmark]]:
    """Pictures seen and benchmark of all weights that were shipped with one, oldest first, by their SHA-256."""
    found = {}
    for commit in git("log", "--reverse", "--format=%H", "--", RESULT).split():
        result, card = (json.loads(git("show", f"{commit}:{path}")) for path in (RESULT, CARD))
        seen = re.findall(r"In all ([\d,]+) pictures", " ".join(card["training"].get("log", ())))
        if seen and card["sha256"] in result["facts"].get("weights", ""):
            found[card["sha256"]] = int(seen[-1].replace(",", "")), Benchmark.from_dict(result)
    return found


def main() -> None:
    """Write the change of every measure against the bicubic input, at two fidelities."""
    rows = []
    for weights, (images, benchmark) in states().items():
        for fidelity in ("0.5", "1"):
            changes = (change.split()[0] for change in benchmark.changes(f"restorer, fidelity {fidelity}").values())
            named = dict(zip(COLUMNS, changes, strict=True))
            rows.append({"images": images, "weights": weights[:8], "fidelity": fidelity} | named)
    with OUTPUT.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
