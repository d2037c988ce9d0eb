"""``bfr-lite restore``: photos in, the same photos with their faces restored out; or faces that are aligned already."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bfr_lite.commands import Subparsers, command_parser
from bfr_lite.commands.pictures import Facts, Job, add_picture_arguments, plan, process

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bfr_lite.photos import FoundFace

    Work = Generator[tuple[Tensor, int], Tensor, Facts]

EXAMPLE = """
bfr-lite restore holiday.jpg -o restored
bfr-lite restore photos/ -o restored --fidelity 0.6 --scale 2 --json
bfr-lite restore old.jpg -o restored --box 310 120 90 110
bfr-lite restore faces/ -o restored --aligned
"""

SOFT = 1.5  # times that a face may be shrunk to be restored before the report says what that costs


def add_parser(subparsers: Subparsers) -> None:
    """Add ``restore`` to the command line."""
    summary = "find the faces in photos, restore them and put them back"
    parser = command_parser(subparsers, "restore", summary, EXAMPLE, run)
    add_picture_arguments(parser)
    parser.add_argument(
        "--fidelity", type=float, default=0.5, help="from 0, trust the prior, to 1, trust the input (default: 0.5)"
    )
    parser.add_argument(
        "--weights", default="lite", metavar="NAME", help="shipped weights, or a safetensors file (default: lite)"
    )
    parser.add_argument("--scale", type=int, default=1, choices=(1, 2, 4), help="enlarge the photos (default: 1)")
    parser.add_argument(
        "--aligned", action="store_true", help="each picture is one face in the FFHQ position, square: find nothing"
    )
    parser.add_argument(
        "--box",
        type=float,
        nargs=4,
        action="append",
        metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"),
        help="a face of the photo, from forehead to chin, in pixels, where no detector finds it; may be repeated",
    )
    parser.add_argument("--detector", type=Path, metavar="FILE", help="YuNet's ONNX file (default: found or fetched)")


def run(args: argparse.Namespace) -> int:
    """Restore every picture; 1 when some failed."""
    from bfr_lite.commands.batches import in_batches
    from bfr_lite.restorer import Restorer, knob

    if args.aligned and (args.scale != 1 or args.box or args.detector):
        raise ValueError("--scale, --box and --detector are for whole photos: leave out --aligned")
    if args.box and args.detector:
        raise ValueError("--box takes the place of --detector: leave one out")
    knob(args.fidelity, 1)  # a wrong --fidelity is an error of the command, not of each picture
    jobs = plan(args.inputs, args.output, args.overwrite)
    if args.box and len(jobs) > 1:
        raise ValueError(f"--box is of one photo, {len(jobs)} were given")
    restorer = Restorer.from_pretrained(args.weights)
    size, facts = restorer.preset.size, {"fidelity": args.fidelity, "weights": args.weights}
    if args.aligned:
        work = partial(_restore_face, size=size, facts=facts)
    else:
        work = partial(_restore_photo, size=size, find=_finder(args), scale=args.scale, facts=facts)
    restore = partial(restorer.restore, fidelity=args.fidelity)
    return process(jobs, partial(in_batches, work=work, restore=restore), "restoring", args.json)


def _restore_face(job: Job, size: int, facts: Facts) -> Work:
    from bfr_lite.images import tensor_to_uint8, to_square, uint8_to_tensor
    from bfr_lite.photo_files import read_photo, write_photo

    photo = read_photo(job[0])
    face = to_square(uint8_to_tensor(photo.pixels)[None], size)
    restored = yield face, photo.pixels.nbytes
    write_photo(job[1], photo, tensor_to_uint8(restored[0]))
    return facts


def _finder(args: argparse.Namespace) -> Callable[[np.ndarray], Sequence[FoundFace]]:
    """What finds the faces of a photo: the boxes that were given, or a detector."""
    from bfr_lite.faces import FaceDetector
    from bfr_lite.photos import available_detector, face_in_box, find_faces

    if args.box:
        return lambda photo: [face_in_box(photo, box) for box in args.box]
    detector, remark = (FaceDetector(args.detector), "") if args.detector else available_detector()
    if remark:
        print(f"bfr-lite: {remark}", file=sys.stderr)
    return partial(find_faces, detector=detector)


def _restore_photo(
    job: Job, size: int, find: Callable[[np.ndarray], Sequence[FoundFace]], scale: int, facts: Facts
) -> Work:
    from bfr_lite.faces import FaceError
    from bfr_lite.photo_files import read_photo, write_photo
    from bfr_lite.photos import cut_out, put_back

    photo = read_photo(job[0])
    found = find(photo.pixels)
    if all(one.left_out for one in found):
        reasons = "; ".join(one.left_out for one in found) or "none was found"
        raise FaceError(f"no face to restore: {reasons}")
    crops = cut_out(photo.pixels, found, size)
    restored = yield crops, photo.pixels.nbytes
    write_photo(job[1], photo, put_back(photo.pixels, found, crops, restored, scale))
    return {**facts, "scale": scale, **_about(found, size)}


def _about(found: Sequence[FoundFace], size: int) -> Facts:
    """What the report says of the faces of one photo."""
    faces = [
        {
            "box": one.face.box.round().tolist(),
            "yaw": round(one.yaw),
            "pitch": round(one.pitch),
            "shrunk": None if one.left_out else round(one.shrunk(size), 2),
            "left_out": one.left_out,
        }
        for one in found
    ]
    kept = [one for one in found if not one.left_out]
    turned = [f"{round(one.yaw):+d}°/{round(one.pitch):+d}°" for one in kept]
    remarks = [f"one left out, {one.left_out}" for one in found if one.left_out]
    large = [times for one in kept if (times := one.shrunk(size)) > SOFT]
    remarks += [f"one shrunk {times:.1f} times to be restored: softer than a sharp photo" for times in large]
    restored = f"{len(turned)} face{'s' * (len(turned) > 1)} restored, yaw/pitch {', '.join(turned)}"
    return {"faces": faces, "summary": "; ".join([restored, *remarks])}
