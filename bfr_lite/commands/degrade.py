"""``bfr-lite degrade``: pictures made bad on purpose, to train on or to try a restorer with."""

from __future__ import annotations

import argparse
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bfr_lite.commands import Subparsers, command_parser, seed
from bfr_lite.commands.pictures import Facts, add_picture_arguments, one_by_one, plan, process

if TYPE_CHECKING:
    from bfr_lite.degradation import Degradation

EXAMPLE = """
bfr-lite degrade portrait.jpg -o degraded --severity 0.7
bfr-lite degrade faces/ -o degraded --named gfpgan --seed 3 --json
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add ``degrade`` to the command line."""
    summary = "blur, shrink, add noise and JPEG to pictures, which keep their size"
    parser = command_parser(subparsers, "degrade", summary, EXAMPLE, run)
    add_picture_arguments(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--severity", type=float, default=0.5, help="from 0, nearly clean, to 1 (default: 0.5)")
    how.add_argument(
        "--named",
        metavar="NAME",
        help="published ranges: gfpgan, codeformer or diffbir; or shrunk (only smaller, by 1 to 16) or none",
    )
    parser.add_argument("--seed", type=seed, default=0, help="same seed, same file name: same degradation (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Degrade every picture; 1 when some failed."""
    import torch

    from bfr_lite.degradation import PUBLISHED_SIZE, Degradation, DegradationRanges
    from bfr_lite.images import tensor_to_uint8, uint8_to_tensor
    from bfr_lite.photo_files import read_photo, write_photo

    def degradation(size: int) -> Degradation:
        if args.named:
            return Degradation.named(args.named, size)
        return Degradation.of_severity(args.severity, size)

    def work(source: Path, target: Path) -> Facts:
        photo = read_photo(source)
        image = uint8_to_tensor(photo.pixels)[None]
        generator = torch.Generator().manual_seed(args.seed + zlib.crc32(source.name.encode()))
        # Blur is in proportion to the shorter side, so that a picture need not be square.
        params = degradation(min(image.shape[-2:])).sample(1, generator)
        degraded = Degradation(DegradationRanges(), size=None).apply(image, params)[0]
        write_photo(target, photo, tensor_to_uint8(degraded))
        return {"degradation": {name: values[0].tolist() for name, values in vars(params).items()}}

    degradation(PUBLISHED_SIZE)  # a wrong --severity or --named is an error of the command, not of each picture
    jobs = plan(args.inputs, args.output, args.overwrite)
    return process(jobs, partial(one_by_one, work=work), "degrading", args.json)
