"""The whole system in one diagram, each notebook's part of it highlighted; every shape is read off the preset."""

from __future__ import annotations

from itertools import pairwise

from bfr_lite.diagrams import Box, Diagram, Point
from bfr_lite.plots import COLOURS, Picture
from bfr_lite.presets import Preset
from bfr_lite.stylegan2 import resolutions

# What can be highlighted: its notebook and name for the alternative text, and its colour.
PARTS = {
    "degradation": ("01, the degradation", COLOURS[5]),
    "mmrb": ("02, the MMRBs of the encoder", COLOURS[0]),
    "codec": ("03, encoder, head and decoder, and what they say: codes and conditions", COLOURS[0]),
    "prior": ("04, the StyleGAN2 generator and its mapping network", COLOURS[1]),
    "restorer": ("05, the fidelity knob, the trust map and the blend", COLOURS[3]),
    "training": ("06, teacher, losses, re-degradation and discriminator", COLOURS[2]),
    "evaluation": ("07, the measures", COLOURS[4]),
    "photos": ("08, finding and aligning a face, and pasting it back", COLOURS[6]),
}
SYSTEM = (
    "The whole system, top to bottom and up again. A clean face is damaged. An encoder of MMRBs reads the damaged face"
    " down to 4 px, and a head gives W+ codes. A light decoder goes up again, with skips from the encoder, and gives"
    " conditions at each resolution, times the fidelity knob. The StyleGAN2 generator draws a face of codes and"
    " conditions. A trust map blends it with the decoder's own picture into the restored face."
)

# Middles of the columns, the height of the coarsest row, from row to row, and the page's width, in inches.
ENCODER, DECODER, KNOB, GENERATOR, CODES_BUS = 1.4, 3.65, 5.22, 6.65, 7.62
FIRST_ROW, STEP, WIDTH = 2.45, 0.44, 7.8


def architecture(preset: Preset, highlight: str | None = None) -> Picture:
    """Draw the system of `preset` with one of `PARTS` highlighted and the rest pale, or with all parts alike.

    Raises `ValueError` for an unknown part.
    """
    if highlight is not None and highlight not in PARTS:
        raise ValueError(f"unknown part {highlight!r}: use one of {', '.join(PARTS)}, or None for all alike")
    drawing = _Drawing(preset, highlight)
    drawing.networks()
    drawing.codes()
    drawing.inputs()
    drawing.outputs()
    drawing.training()
    return drawing.diagram.picture(SYSTEM + (f" Highlighted: notebook {PARTS[highlight][0]}." if highlight else ""))


class _Drawing:
    """The diagram while it is drawn: rows are resolutions, columns are encoder, decoder and generator."""

    def __init__(self, preset: Preset, highlight: str | None):
        self.codec, self.gan, self.highlight = preset.codec, preset.gan, highlight
        self.rows = {r: FIRST_ROW + STEP * row for row, r in enumerate(resolutions(preset.size))}
        self.top = self.rows[preset.size]
        self.above = [self.top + height for height in (0.75, 1.5, 2.15)]  # rows of inputs and outputs
        self.picture = f"3×{preset.size}×{preset.size}"
        self.diagram = Diagram(WIDTH, self.above[-1] + 0.35)

    def box(self, x: float, y: float, text: str, parts: str, width: float = 1.4, height: float = 0.3) -> Box:
        """A box that belongs to one or more `parts` (names, split by blanks), in the colour of the first."""
        colour = PARTS[parts.split()[0]][1]
        return self.diagram.box(x, y, text, width, height, colour, parts == "training", self.pale(parts))

    def arrow(self, parts: str, *points: Point, label: str = "") -> None:
        """An arrow that belongs to one or more `parts`."""
        self.diagram.arrow(*points, label=label, pale=self.pale(parts))

    def pale(self, parts: str) -> bool:
        """Whether what belongs to `parts` stays in the background."""
        return self.highlight is not None and self.highlight not in parts.split()

    def networks(self) -> None:
        """Three columns of boxes, and the tensors that go from one to the next."""
        blocks = "MMRB" if self.codec.depth == 1 else f"{self.codec.depth} MMRBs"
        encoder, decoder, generator = {}, {}, {}
        for r, y in self.rows.items():
            drawn = f"{self.gan.channels(r)}×{r}×{r}"
            encoder[r] = self.box(ENCODER, y, f"{r} px: {blocks}", "codec mmrb")
            generator[r] = self.box(GENERATOR, y, drawn if r > 4 else f"constant {drawn}", "prior")
            if r > 4:
                decoder[r] = self.box(DECODER, y, f"{r} px: conv", "codec", 1.04)
                self.arrow("codec", encoder[r].right, decoder[r].left, label=f"{self.codec.channels(r)}×{r}×{r}")
                condition = f"2×{self.gan.channels(r) // 2}×{r}×{r}"
                self.arrow("codec restorer", decoder[r].right, (KNOB - 0.1, y), label=condition)
                self.arrow("codec restorer", (KNOB + 0.1, y), generator[r].left)
        for small, large in pairwise(self.rows):
            self.arrow("codec mmrb", encoder[large].bottom, encoder[small].top)
            self.arrow("prior", generator[small].top, generator[large].bottom)
        for small, large in pairwise(decoder):
            self.arrow("codec", decoder[small].top, decoder[large].bottom)
        coarsest = f"{self.codec.channels(4)}×4×4"
        self.arrow("codec", encoder[4].right, (DECODER, self.rows[4]), decoder[8].bottom, label=coarsest)
        for x, name, parts in (
            (ENCODER - 0.7, "02, 03", "codec mmrb"),
            (ENCODER + 0.08, "encoder", "codec mmrb"),
            (DECODER - 0.48, "03", "codec"),
            (DECODER + 0.08, "decoder", "codec"),
            (DECODER + 0.72, "conditions", "codec restorer"),
            (GENERATOR - 0.62, "04", "prior"),
            (GENERATOR + 0.08, "generator", "prior"),
        ):
            self.diagram.note(x, self.top + 0.29, name, align="left", pale=self.pale(parts))

    def codes(self) -> None:
        """From the encoder's end, or from chance, to all layers of the generator."""
        y, count, length = self.rows[4] - 0.55, 2 * len(self.rows), self.gan.w_dim
        head = self.box(ENCODER, y, "head: two linear layers", "codec", 1.6)
        codes = self.box(DECODER, y, f"W+ codes {count}×{length}", "codec prior", 1.4)
        chance = f"mapping: z {self.gan.z_dim} → w {length}"
        mapping = self.box(GENERATOR - 0.1, y - 0.42, chance, "prior", 1.8)
        self.arrow("codec mmrb", (ENCODER, self.rows[4] - 0.15), head.top)
        self.arrow("codec", head.right, codes.left)
        self.arrow("prior", mapping.left, (DECODER, mapping.y), codes.bottom, label="or a face by chance")
        for row in self.rows.values():
            self.arrow("codec prior", codes.right, (CODES_BUS, y), (CODES_BUS, row), (GENERATOR + 0.7, row))

    def inputs(self) -> None:
        """Above the encoder: where damaged faces come from."""
        low, middle, high = self.above
        damaged = self.box(ENCODER, low, f"damaged face {self.picture}", "degradation photos codec mmrb", 1.8)
        chain = self.box(0.85, middle, "01 blur, shrink,\nnoise, JPEG, enlarge", "degradation", 1.45, 0.44)
        photo = self.box(2.5, middle, "08 your photo:\nfind and align", "photos", 1.35, 0.44)
        clean = self.box(0.85, high, f"clean face {self.picture}", "degradation training evaluation", 1.6)
        self.arrow("degradation", clean.bottom, chain.top)
        self.arrow("degradation", chain.bottom, (0.85, low + 0.15))
        self.arrow("photos", photo.bottom, (2.2, low + 0.15))
        self.arrow("codec mmrb", damaged.bottom, (ENCODER, self.top + 0.15))
        self.arrow("evaluation", clean.right, (4.75, high))

    def outputs(self) -> None:
        """Above decoder and generator: blend, restored face, and what is done with it."""
        low, middle, high = self.above
        last = max(self.rows)
        own = self.box(DECODER, low, f"05 own picture {self.picture}\ntrust map 1×{last}×{last}", "restorer", 1.7, 0.44)
        blend = self.box(GENERATOR, low, "05 blend", "restorer", 1.0)
        restored = self.box(GENERATOR, middle, f"restored face {self.picture}", "restorer evaluation photos", 1.8)
        measures = self.box(5.45, high, "07 PSNR, LPIPS", "evaluation", 1.4)
        paste = self.box(6.98, high, "08 paste back", "photos", 1.2)
        self.arrow("restorer", (DECODER, self.top + 0.15), own.bottom)
        self.arrow("restorer", own.right, (KNOB - 0.1, low))
        self.arrow("restorer", (KNOB + 0.1, low), blend.left)
        self.arrow("restorer", (GENERATOR, self.top + 0.15), blend.bottom)
        self.arrow("restorer", blend.top, restored.bottom)
        self.arrow("evaluation", (measures.x + 0.5, middle + 0.15), (measures.x + 0.5, high - 0.15))
        self.arrow("photos", (paste.x, middle + 0.15), paste.bottom)
        knob_height = low - self.rows[8] + 0.44
        self.box(KNOB, (low + self.rows[8]) / 2, "", "restorer", 0.2, knob_height)
        self.diagram.note(KNOB, self.rows[4] + 0.02, "05\n× fidelity", pale=self.pale("restorer"))

    def training(self) -> None:
        """A strip below: who teaches the networks, and with what question."""
        self.diagram.note(0.1, 1.02, "06 only in training", align="left", pale=self.pale("training"))
        questions = (
            "teacher, an average\nof the codec: what\nwould the clean face say?",
            "losses: is the\nrestored face\nthe clean one?",
            "re-degradation: does\nthe same damage give\nthe input again?",
            "discriminator:\nreal portrait\nor drawn?",
        )
        for x, question in zip((0.98, 2.92, 4.86, 6.8), questions, strict=True):
            self.box(x, 0.5, question, "training", 1.76, 0.66)
