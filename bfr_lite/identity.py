"""Is it still the same person? The angle between embeddings of a network that recognises people.

The network is dlib's ResNet of 29 layers (King 2017, `dlib_face_recognition_resnet_model_v1`, public domain), which
comes with the package `face_recognition_models`: extra "benchmark". Papers quote such an angle ("Deg.") by ArcFace;
the numbers of two networks do not compare.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bfr_lite.images import resize

CHIP = 150  # pixels of the picture that the network takes
# The chip in a face in the FFHQ position, in shares of its side: where dlib's own alignment has the eyes.
LEFT, TOP, SIDE = 79 / 512, 127 / 512, 359 / 512


class IdentityAngle:
    """Degrees (B,) between the embeddings of two aligned faces (B, 3, H, H) in [0, 1]; 0 for equal pictures.

    Raises ModuleNotFoundError when the extra "benchmark" is not installed.
    """

    name = "identity angle (dlib ResNet-29)"

    def __init__(self):
        spec = find_spec("face_recognition_models")
        if spec is None or find_spec("dlib") is None:
            raise ModuleNotFoundError('the identity angle needs: pip install "bfr-lite[benchmark]"')
        import dlib

        model = Path(spec.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        self.network = dlib.face_recognition_model_v1(str(model))
        self._target, self._wanted = None, None

    @torch.no_grad()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        if target is not self._target:  # every method of an evaluation is measured against the same clean faces
            self._target, self._wanted = target, self.embed(target)
        cosine = torch.cosine_similarity(self.embed(output), self._wanted)
        return torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).float()

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (B, 128), float64."""
        side = images.shape[-1]
        left, top, width = (round(share * side) for share in (LEFT, TOP, SIDE))
        chips = resize(images[..., top : top + width, left : left + width], CHIP)
        pixels = (chips.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(np.array(self.network.compute_face_descriptor(list(pixels))))
