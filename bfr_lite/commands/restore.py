"""``bfr-lite restore``: damaged faces in, restored faces out."""

from __future__ import annotations

import argparse
from pathlib import Path

from bfr_lite.commands import Subparsers, command_parser
from bfr_lite.commands.pictures import add_picture_arguments, plan, process

EXAMPLE = """
bfr-lite restore face.jpg -o restored
bfr-lite restore faces/ -o restored --fidelity 0.8 --json
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add ``restore`` to the command line."""
    summary = "restore aligned faces: square pictures, each of one face in the FFHQ position"
    parser = command_parser(subparsers, "restore", summary, EXAMPLE, run)
    add_picture_arguments(parser)
    parser.add_argument(
        "--fidelity", type=float, default=0.5, help="from 0, trust the prior, to 1, trust the input (default: 0.5)"
    )
    parser.add_argument(
        "--weights", default="lite", metavar="NAME", help="shipped weights, or a safetensors file (default: lite)"
    )


def run(args: argparse.Namespace) -> int:
    """Restore every picture; 1 when some failed."""
    from bfr_lite.images import ImageError, load_image, save_image
    from bfr_lite.restorer import Restorer, scale_conditions

    def work(source: Path, target: Path) -> dict[str, object]:
        image = load_image(source)
        height, width = image.shape[-2:]
        if height != width:
            raise ImageError(f"{source} is {width}x{height} pixels; an aligned face is square: crop the picture to it")
        save_image(restorer.restore(image, args.fidelity), target)
        return {"fidelity": args.fidelity, "weights": args.weights}

    scale_conditions({}, args.fidelity)  # a wrong --fidelity is an error of the command, not of each picture
    jobs = plan(args.inputs, args.output, args.overwrite)
    restorer = Restorer.from_pretrained(args.weights)
    return process(jobs, work, "restoring", args.json)
