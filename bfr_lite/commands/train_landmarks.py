"""``bfr-lite train landmarks``: the small networks that measure landmark distances, and align damaged photos."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bfr_lite.commands import Subparsers, command_parser, seed

EXAMPLE = """
bfr-lite train landmarks -o runs/landmarks
bfr-lite train landmarks --aligner -o runs/aligner
"""


def add_parser(kinds: Subparsers) -> None:
    """Add ``landmarks`` to what ``bfr-lite train`` can train."""
    summary = "train the landmark networks, of the metrics and of photos, on the congress portraits"
    parser = command_parser(kinds, "landmarks", summary, EXAMPLE, run)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for weights and card")
    parser.add_argument(
        "--aligner", action="store_true", help="the one that aligns damaged photos: more damage, farther out of place"
    )
    parser.add_argument("--images", type=int, help="pictures to see (default: the recipe's)")
    parser.add_argument("--seed", type=seed, default=0, help="same seed, same network (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the card as JSON")


def run(args: argparse.Namespace) -> int:
    """Train, write weights and card, and print what was measured."""
    from dataclasses import replace

    from bfr_lite.checkpoints import read_card
    from bfr_lite.machine import command_line
    from bfr_lite.training.landmarks import ALIGNER, LandmarkTraining, write_landmarks

    config = replace(ALIGNER if args.aligner else LandmarkTraining(), seed=args.seed)
    if args.images is not None:
        config = replace(config, images=args.images)
    path = write_landmarks(config, args.output, command_line())
    card = read_card(path)
    errors = ", ".join(f"{name} {error}" for name, error in card["test_error_px"].items())
    print(json.dumps(card, indent=2) if args.json else f"{path}: mean error in px of the test faces: {errors}")
    return 0
