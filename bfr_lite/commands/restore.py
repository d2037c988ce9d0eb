"""``bfr-lite restore``: damaged faces in, restored faces out; or whole photos, with the faces in them restored."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bfr_lite.commands import Subparsers, command_parser
from bfr_lite.commands.pictures import Work, add_picture_arguments, plan, process

if TYPE_CHECKING:
    from bfr_lite.photos import FoundFace
    from bfr_lite.restorer import Restorer

EXAMPLE = """
bfr-lite restore face.jpg -o restored
bfr-lite restore faces/ -o restored --fidelity 0.8 --json
bfr-lite restore holiday.jpg -o restored --photo --scale 2
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add ``restore`` to the command line."""
    summary = "restore aligned faces: square pictures, each of one face in the FFHQ position; or the faces in photos"
    parser = command_parser(subparsers, "restore", summary, EXAMPLE, run)
    add_picture_arguments(parser)
    parser.add_argument(
        "--fidelity", type=float, default=0.5, help="from 0, trust the prior, to 1, trust the input (default: 0.5)"
    )
    parser.add_argument(
        "--weights", default="lite", metavar="NAME", help="shipped weights, or a safetensors file (default: lite)"
    )
    parser.add_argument(
        "--photo", action="store_true", help="find the faces in each picture, restore them and put them back"
    )
    parser.add_argument(
        "--scale", type=int, default=1, choices=(1, 2, 4), help="of --photo: enlarge the picture (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Restore every picture; 1 when some failed."""
    from bfr_lite.restorer import Restorer, knob

    if args.scale != 1 and not args.photo:
        raise ValueError(f"--scale {args.scale} is for whole photos: add --photo")
    knob(args.fidelity, 1)  # a wrong --fidelity is an error of the command, not of each picture
    jobs = plan(args.inputs, args.output, args.overwrite)
    restorer = Restorer.from_pretrained(args.weights)
    work = _photo_work(restorer, args) if args.photo else _face_work(restorer, args)
    return process(jobs, work, "restoring", args.json)


def _face_work(restorer: Restorer, args: argparse.Namespace) -> Work:
    from bfr_lite.images import load_image, save_image

    def work(source: Path, target: Path) -> dict[str, object]:
        save_image(restorer.restore(load_image(source), args.fidelity), target)
        return {"fidelity": args.fidelity, "weights": args.weights}

    return work


def _photo_work(restorer: Restorer, args: argparse.Namespace) -> Work:
    from bfr_lite.faces import FaceError
    from bfr_lite.photo_files import read_photo, write_photo
    from bfr_lite.photos import available_detector, find_faces, restore_photo

    detector, remark = available_detector()
    if remark:
        print(f"bfr-lite: {remark}", file=sys.stderr)

    def work(source: Path, target: Path) -> dict[str, object]:
        photo = read_photo(source)
        found = find_faces(photo.pixels, detector)
        if all(one.left_out for one in found):
            reasons = "; ".join(one.left_out for one in found) or "none was found"
            raise FaceError(f"no face to restore: {reasons}")
        pixels = restore_photo(photo.pixels, found, restorer, args.fidelity, args.scale)
        write_photo(target, photo, pixels, args.scale)
        return {"fidelity": args.fidelity, "weights": args.weights, "scale": args.scale, **_about(found)}

    return work


def _about(found: Sequence[FoundFace]) -> dict[str, object]:
    """What the report says of the faces of one photo."""
    faces = [
        {
            "box": one.face.box.round().tolist(),
            "yaw": round(one.yaw),
            "pitch": round(one.pitch),
            "left_out": one.left_out,
        }
        for one in found
    ]
    turned = [f"{round(one.yaw):+d}°" for one in found if not one.left_out]
    left = [f"one left out, {one.left_out}" for one in found if one.left_out]
    restored = f"{len(turned)} face{'s' * (len(turned) > 1)} restored, turned by {', '.join(turned)}"
    return {"faces": faces, "summary": "; ".join([restored, *left])}
