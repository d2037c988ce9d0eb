"""``bfr-lite evaluate``: how well a restorer does, beside the input and classical methods."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bfr_lite.commands import Subparsers, command_parser, seed

if TYPE_CHECKING:
    from bfr_lite.baselines import Method
    from bfr_lite.benchmark import Benchmark
    from bfr_lite.degradation import Degradation
    from bfr_lite.evaluation import Table
    from bfr_lite.face_sets import FaceDataset
    from bfr_lite.restorer import Restorer

EXAMPLE = """
bfr-lite evaluate --data congress --split test --degradation gfpgan
bfr-lite evaluate --data synthetic --count 32 --degradation x4 --json > table.json
bfr-lite evaluate --data congress --benchmark -o data/benchmarks/restorer-lite
bfr-lite evaluate --data faces/ --weights runs/mine/restorer-lite.safetensors --grid grid.png --grid-faces 0 7 12
"""

SPLIT_KINDS = ("synthetic", "congress")  # of data, that have a train and a test split
SYNTHETIC_FACES = 64  # there is no end to them
TUNING_FACES = 24  # the classical methods have one or two parameters to find
GRID_FACES = 6


def add_parser(subparsers: Subparsers) -> None:
    """Add ``evaluate`` to the command line."""
    summary = "measure a restorer, the input and classical methods on faces that it has not seen"
    parser = command_parser(subparsers, "evaluate", summary, EXAMPLE, run)
    parser.add_argument(
        "--data", default="synthetic", help="synthetic, congress, or a folder of aligned faces (default: synthetic)"
    )
    parser.add_argument("--split", choices=("train", "test"), help="of synthetic and congress (default: test)")
    parser.add_argument(
        "--count", type=int, help=f"the first faces only (default: all; of synthetic {SYNTHETIC_FACES})"
    )
    parser.add_argument(
        "--degradation",
        metavar="NAME",
        help="gfpgan, codeformer, diffbir, shrunk, none, severity 0 to 1, super-resolution x2 to x16 (default: gfpgan)",
    )
    parser.add_argument(
        "--benchmark",
        action="store_true",
        help="the fixed benchmark instead of one degradation: three severities and x4, x8 and x16, with strata",
    )
    parser.add_argument("--weights", default="lite", help="preset's name or safetensors of a restorer (default: lite)")
    parser.add_argument("--seed", type=seed, default=0, help="of the degradation (default: 0)")
    parser.add_argument("--grid", type=Path, metavar="PICTURE", help="write a comparison of some faces there")
    parser.add_argument(
        "--grid-faces", type=int, nargs="+", metavar="INDEX", help=f"which (default: the first {GRID_FACES})"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="STEM", help="write STEM.md and STEM.json, too")
    parser.add_argument("--overwrite", action="store_true", help="replace STEM.md, STEM.json and PICTURE")
    parser.add_argument("--json", action="store_true", help="table on stdout as JSON, with a value for every face")


def run(args: argparse.Namespace) -> int:
    """Print the table, as Markdown with a line for each fact, or as JSON."""
    from dataclasses import replace

    from bfr_lite.restorer import Restorer

    if args.benchmark and (args.grid or args.degradation):
        raise ValueError("--benchmark has degradations of its own: leave it out, or --grid and --degradation")
    if args.grid_faces and not args.grid:
        raise ValueError("--grid-faces chooses the faces of --grid: add it, too")
    args.degradation = args.degradation or "gfpgan"
    started = time.perf_counter()
    files = _output_files(args)
    restorer = Restorer.from_pretrained(args.weights)
    faces = _faces(args, restorer.preset.size)
    measured, how = (_benchmark if args.benchmark else _one_degradation)(args, restorer, faces)
    facts = _facts(args, faces) | how | {"seconds": round(time.perf_counter() - started, 1)}
    content = replace(measured, facts=facts).as_dict()
    as_json = json.dumps(content, indent=2, allow_nan=False)
    # of the values as the JSON has them, rounded: an interval of others may end one digit farther
    table = type(measured).from_dict(content).markdown()
    as_text = "\n".join([table, "", *(f"- {name}: {fact}" for name, fact in facts.items())])
    try:
        for path, text in zip(files, (as_json, as_text), strict=False):
            _write(path, text)
    finally:  # also when the disk is full
        print(as_json if args.json else as_text)
    return 0


def _one_degradation(
    args: argparse.Namespace, restorer: Restorer, faces: FaceDataset
) -> tuple[Table, dict[str, object]]:
    from bfr_lite.evaluation import evaluate
    from bfr_lite.metrics import standard_metrics

    degradation = _degradation(args.degradation, faces.size)
    if args.grid:  # before the long work, so that a wrong index or suffix is said at once
        _write_grid(args, restorer, faces, degradation)
    methods = _classical(args, degradation, faces.size)
    table = evaluate(restorer, faces, degradation, methods=methods, metrics=standard_metrics(), seed=args.seed)
    classical = ", ".join(str(method) for method in methods.values())
    return table, {"degradation": args.degradation, "classical methods": classical}


def _benchmark(args: argparse.Namespace, restorer: Restorer, faces: FaceDataset) -> tuple[Benchmark, dict[str, object]]:
    from bfr_lite.benchmark import run_benchmark
    from bfr_lite.metrics import benchmark_metrics

    def classical(degradation: Degradation) -> dict[str, Method]:
        return _classical(args, degradation, faces.size)

    return run_benchmark(restorer, faces, benchmark_metrics(), classical, seed=args.seed), {
        "classical methods": "tuned for each condition on training faces"
    }


def _facts(args: argparse.Namespace, faces: FaceDataset) -> dict[str, object]:
    from bfr_lite.machine import command_line, hardware, versions

    return {
        "command": command_line(),
        "data": " ".join(filter(None, [args.data, _split(args)])) + f", {len(faces)} faces of {faces.size} px",
        "seed": args.seed,
        "weights": _weights(args.weights),
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }


def _output_files(args: argparse.Namespace) -> list[Path]:
    """Where to write, found out before the long work."""
    stem = args.output
    files = [stem.with_name(stem.name + suffix) for suffix in (".json", ".md")] if stem else []
    there = [str(path) for path in (*files, args.grid) if path and path.exists()]
    if there and not args.overwrite:
        raise ValueError(f"{', '.join(there)}: there already; add --overwrite to replace, or name another file")
    for option, path in (("--output", stem), ("--grid", args.grid)):
        if path and not path.parent.is_dir():
            raise ValueError(f"{path.parent} is no folder: make it, or name another {option}")
    return files


def _write(path: Path, text: str) -> None:
    from bfr_lite.files import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _degradation(name: str, size: int) -> Degradation:
    from bfr_lite.degradation import Degradation

    if re.fullmatch(r"x\d+", name):
        return Degradation.super_resolution(int(name[1:]), size)
    try:
        severity = float(name)
    except ValueError:
        return Degradation.named(name, size)
    return Degradation.of_severity(severity, size)


def _split(args: argparse.Namespace) -> str | None:
    return (args.split or "test") if args.data in SPLIT_KINDS else args.split


def _faces(args: argparse.Namespace, size: int) -> FaceDataset:
    from bfr_lite.data import load_faces

    if args.data not in SPLIT_KINDS:
        return load_faces("folder", args.data, split=args.split, size=size, count=args.count)
    count = SYNTHETIC_FACES if args.count is None and args.data == "synthetic" else args.count
    return load_faces(args.data, split=_split(args), size=size, count=count)


def _classical(args: argparse.Namespace, degradation: Degradation, size: int) -> dict[str, Method]:
    """Classical methods, tuned on faces of the train split; of a folder, which has none, with their defaults."""
    from bfr_lite.baselines import DEFAULTS, tune_all
    from bfr_lite.data import load_faces

    if args.data not in SPLIT_KINDS:
        return dict(DEFAULTS)
    faces = load_faces(args.data, split="train", size=size, count=TUNING_FACES)
    return tune_all(faces, degradation, args.seed)


def _write_grid(args: argparse.Namespace, restorer: Restorer, faces: FaceDataset, degradation: Degradation) -> None:
    import torch

    from bfr_lite.evaluation import comparison
    from bfr_lite.images import grid, save_image

    indices = args.grid_faces or list(range(min(GRID_FACES, len(faces))))
    if not all(0 <= index < len(faces) for index in indices):
        raise ValueError(f"--grid-faces {indices}: faces are numbered from 0 to {len(faces) - 1}")
    rows = comparison(restorer, faces, degradation, indices, seed=args.seed)
    save_image(grid(torch.cat(list(rows.values())), len(indices)), args.grid)
    columns = ", ".join(str(index) for index in indices)
    print(f"{args.grid}: rows are {' | '.join(rows)}; columns are faces {columns}", file=sys.stderr)


def _weights(source: str) -> str:
    from bfr_lite.checkpoints import read_card, weights_path

    path = weights_path(source, "restorer")
    return f"{path.name}, SHA-256 {read_card(path).get('sha256', 'not on a card')}"
