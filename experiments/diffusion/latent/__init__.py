"""Is "64× compression" why latent diffusion is fast? What it gains, measured.

    python -m experiments run latent

512² pixels become 64×64×4 latents: 64 times fewer positions, 48 times fewer numbers. What that is worth is measured in two ways.

One evaluation of the same small U-Net is timed at 64 to 512 pixels and at latents 8 times smaller, in turn, beside its FLOPs and memory,
and beside the decoder, which every picture needs once.

Two diffusion models of the same kind learn drawings (OpenMoji, held out by concept) of 64×64 pixels for the same seconds: one of pixels,
one of 16×16×4 latents. How many steps that is follows from step times that are measured at the start and kept, so that a run that goes on
does as many. Fréchet distance against seconds says how good each is after equal time, and how long each takes to be equally good; the
second account adds the autoencoder's training. The pictures are drawings alone: 380 are held out, and one subject gives one distance.

By XLA's count the full run computes 70 TFLOP beside the diffusion models' trainings, whose seconds are given (2 seeds × 2 models × 200 s):
on 2 cores that do 80 GFLOP/s 15 minutes and 13 minutes, and 3 for compiling and reading pictures: 31 minutes in all. The figures to
expect are in experiments/results/latent/README.md.
"""

from typing import Any

from experiments.diffusion.latent import judge, networks
from experiments.diffusion.latent import train as trainings
from experiments.diffusion.latent.config import Config, Thresholds
from gendiff.commands.images.image_training import Learning, Recipe
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_MODEL = Recipe(batch=8, warmup=1, channels=(8,))
_CODER = Learning(train_steps=2, batch=8, warmup=1, channels=(8, 8, 8, 8), drop_condition=0.0)
_NETWORKS: dict[str, Any] = {"side": 32, "factor": 2, "channels": 1, "autoencoder": _CODER, "latents": _MODEL, "pixels": _MODEL}
_FEW: dict[str, Any] = {"pictures": 32, "held_out": 16, "samples": 16, "draw_size": 8, "draws": 3, "together": 16, "shown": 4}
_SHORT: dict[str, Any] = {
    "seconds": 0.1,
    "fractions": (0.5, 1.0),
    "sampling_steps": 2,
    "resolutions": (32,),
    "resamples": 20,
    "features": "random-convolutions",
}
_ROUNDS: dict[str, Any] = {"step_rounds": 2, "sampling_rounds": 2, "cost_rounds": 2}

ANSWER = Answer(
    roles={
        **dict.fromkeys(("evaluation", "equal-time", "equal-quality"), "E9"),
        **dict.fromkeys(("positions", "numbers", "null", "untrained-*"), "check"),
    },
    text="in part: at 512² one evaluation is {evaluation:.0f} times faster, a picture in 50 of them {picture:.0f} "
    "times; "
    "quality after equal training is open",
    statements={
        "E9": "At 512², 64 times fewer positions make one evaluation {evaluation:.1f interval} times faster, and a "
        "picture in 50 "
        "evaluations {picture:.0f} times, decoding included",
    },
    numbers={"picture": Cell("A whole picture", (512,), "50 evaluations")},
    picture="cost.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "The mean over seeds is judged, not every seed: both claims on equal training went from PASS to open.",
            "The rule must not depend on the number of seeds, and two seeds leave a wide interval. No number changed.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="latent",
    question="Is 64× compression why latent diffusion is fast: what does it gain at equal time and at equal quality?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), **_NETWORKS, **_FEW, **_SHORT, **_ROUNDS),
    train=trainings.train,
    evaluate=judge.evaluate,
    check=networks.check,
    answer=ANSWER,
)
