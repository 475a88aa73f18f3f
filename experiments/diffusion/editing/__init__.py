"""Can a network that learned digits, and nothing else, restore what a mask, a small sensor or a blur took from unseen ones?

    python -m experiments run editing

trains the class-conditional U-Net on the flow process and gives it, without their labels, the held-out digits: with a part hidden
(RePaint, PiGDM, DPS), at half the size, and blurred under noise (PiGDM, DPS). Rivals know no digits beyond their first two moments: the
mean digit, bicubic interpolation, the Wiener filter of the training digits' spectrum. A judge who saw only real digits reads what comes
out. A posterior sample pays for its sharpness with twice the least mean square error, so PiGDM's errors in dB, where all pixels count,
are those of the mean of several samples, and the judge reads a single one. Beside it: DDIM inversion and back, reversible Heun and
back, and img2img by strength. The figures to expect are in experiments/results/editing/README.md.
"""

from typing import Any

from experiments.diffusion.editing import judge, problems
from experiments.diffusion.editing.config import Config, Thresholds, model
from gendiff.commands.images import image_sampling, image_training
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_RESTORED: dict[str, Any] = {"digits": 20, "guided_steps": 3, "posterior_samples": 2, "repaint_steps": 4, "resamples": 2, "jump": 2}
_EDITED: dict[str, Any] = {"round_trips": (2, 4), "reversible_steps": 4, "strengths": (0.0, 0.5, 1.0), "edit_steps": 4}

_ROLES = ("*-judge", "*-psnr", "kept", "round-trip-*", "strength*", "*-untrained", "*-shuffled", "fresh-*")

ANSWER = Answer(
    roles=dict.fromkeys(_ROLES, "check"),
    text="in part: PiGDM gains {super-resolution-psnr:.1f} dB on bicubic and {deblurring-psnr:.1f} on Wiener; DPS is "
    "worse; "
    "hidden lower halves are open",
    picture="super_resolution.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "The mean over seeds is judged, not every seed: super-resolution by PiGDM went from open to PASS.",
            "The rule must not depend on the number of seeds. No number changed.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="editing",
    question="Can a network that learned digits restore what a mask, a small sensor or a blur took, and edit them?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), **image_training.SMOKE, **_RESTORED, **_EDITED),
    train=image_training.per_seed(model),
    evaluate=judge.evaluate,
    plots=judge.plots,
    sample=image_sampling.command(model),
    check=problems.check,
    answer=ANSWER,
)
