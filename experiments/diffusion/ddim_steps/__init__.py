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

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_STEPS: dict[str, Any] = {"levels": 30, "steps": (30, 20, 10, 5, 2), "few": ("DDIM", "Heun"), "budgets": (2, 5)}
_COMPARED: dict[str, Any] = {"equivalent": (5, 10), "same": 20, "coarse": 2, "coarse_chain": 5, "fast": 2, "resamples": 5, "pairs": 2}
_FEW: dict[str, Any] = {"samples": 80, "together": 40, "draws": 3, "draw_size": 60}

EXPERIMENT = Experiment(
    name="ddim-steps",
    question="Does DDIM in 20-50 steps lose quality against 1,000 steps, and what do the best few-step samplers add?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), **image_training.SMOKE, **_STEPS, **_COMPARED, **_FEW),
    train=image_training.per_seed(model),
    evaluate=judge.evaluate,
    sample=image_sampling.command(model),
    check=draw.check,
)
