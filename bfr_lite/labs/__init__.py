"""Instant checks of the labs for courses (`notebooks/labs`): one for each exercise.

A check runs the student's function on small seeded inputs beside the package's own. It prints a line that begins with
✓, or raises `CheckFailed`, whose message names the mistake where it is a usual one.
"""

from bfr_lite.labs.checking import CheckFailed
from bfr_lite.labs.degradation import (
    add_noise,
    check_add_noise,
    check_damage,
    check_gaussian_kernel,
    check_round_straight_through,
)
from bfr_lite.labs.fidelity import check_blend, check_fidelity, check_scale_conditions, check_sft
from bfr_lite.labs.mmrb import check_gate, check_high_pass, check_mmrb, check_path
from bfr_lite.labs.modulation import check_demodulate, check_finish_layer, check_modulate, check_modulated_conv
from bfr_lite.labs.self_supervision import (
    check_ema_update,
    check_redegradation,
    check_teacher_loss,
    check_total_loss,
)

__all__ = [
    "CheckFailed",
    "add_noise",
    "check_add_noise",
    "check_blend",
    "check_damage",
    "check_demodulate",
    "check_ema_update",
    "check_fidelity",
    "check_finish_layer",
    "check_gate",
    "check_gaussian_kernel",
    "check_high_pass",
    "check_mmrb",
    "check_modulate",
    "check_modulated_conv",
    "check_path",
    "check_redegradation",
    "check_round_straight_through",
    "check_scale_conditions",
    "check_sft",
    "check_teacher_loss",
    "check_total_loss",
]
