"""Does DDIM in 20-50 steps lose quality against 1,000 steps, and what do the best few-step samplers add?

    python -m experiments run ddim-steps

trains one small network per seed on DDPM's own process (1,000 levels, linear variances, noise prediction) and draws the same 5,000 samples,
that is the same labels and the same x_T, by DDPM and DDIM in 1,000 to 5 steps, and by samplers made for few steps.

The network is smaller than that of `digits` because of the budget: 43 million evaluations of it take 40 minutes on 2 idle cores, 76
beside other work. Finished sets are kept in the folder `samples` of the run, and a run that was interrupted goes on with the next one;
delete the folder when the results are written. The figures to expect are in experiments/results/ddim-steps/README.md.
"""

from typing import Any

from experiments.diffusion.ddim_steps import draw, judge
from experiments.diffusion.ddim_steps.config import Config, Thresholds, model
from gendiff.commands.images import image_sampling, image_training
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_STEPS: dict[str, Any] = {"levels": 30, "steps": (30, 20, 10, 5, 2), "few": ("DDIM", "Heun"), "budgets": (2, 5)}
_COMPARED: dict[str, Any] = {"equivalent": (5, 10), "same": 20, "coarse": 2, "coarse_chain": 5, "fast": 2, "resamples": 5, "pairs": 2}
_FEW: dict[str, Any] = {"samples": 80, "together": 40, "draws": 3, "draw_size": 60}

_SETS = "Every set of 5,000 samples"

ANSWER = Answer(
    roles={
        **dict.fromkeys(("ddim-20-equivalent*", "ddim-50-equivalent*"), "E5"),
        "speedup": "aim",
        **dict.fromkeys(("speedup-not-of-ddim", "ddim-250-equivalent", "*-different"), "check"),
    },
    text="in part: in 50 steps the Fréchet distance is {ddim-50-equivalent:.0%} above that in 1,000, in 20 steps "
    "{ddim-20-equivalent:.0%} (10 % allowed)",
    statements={
        "E4": "DDPM's samples are {ddpm-1000:.2f interval} times real digits' distance away in 1,000 steps, "
        "{ddpm-250:.2f} in 250 and {ddpm-20:.2f} in 20 (one seed)",
        "E5": "DDIM's Fréchet distance in 50 steps is {ddim-50-equivalent:.0% interval} above that in 1,000, in 20 "
        "steps "
        "{ddim-20-equivalent:.0%} (10 % allowed)",
    },
    numbers={
        "ddpm-1000": Cell(_SETS, ("seed 0, DDPM, 1000 steps",), "Fréchet / floor"),
        "ddpm-250": Cell(_SETS, ("seed 0, DDPM, 250 steps",), "Fréchet / floor"),
        "ddpm-20": Cell(_SETS, ("seed 0, DDPM, 20 steps",), "Fréchet / floor"),
    },
    picture="steps.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "The mean over seeds is judged, not every seed: DDIM in 20 steps went from FAIL to open.",
            "The rule must not depend on the number of seeds. No number changed.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="ddim-steps",
    question="Does DDIM in 20-50 steps lose quality against 1,000 steps, and what do the best few-step samplers add?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), **image_training.SMOKE, **_STEPS, **_COMPARED, **_FEW),
    train=image_training.per_seed(model),
    evaluate=judge.evaluate,
    plots=judge.plots,
    sample=image_sampling.command(model),
    check=draw.check,
    answer=ANSWER,
)
