"""How few evaluations of a network does a picture of a caption need?

    python -m experiments run few-step-text

draws with the two committed networks of `text-to-image`, of scenes and of latents of emoji. Without guidance stand DDIM and UniPC of order
2 on the levels that the data resolve and on learned ones; under guidance the same two, DPM-Solver++ 2M as `text-to-image` draws, guidance
on an interval, adaptive guidance and cached features. Students of each network, one for each way to train one, learn what it draws under
guidance, and need none. All begin at the same noise. They are held against DDIM in many evaluations, by the Fréchet distance in features of
fixed random convolutions, and against guidance everywhere, by the share of pictures that show their caption. Evaluations are counted where
the network makes them: a guided step makes two.

DDIM in as few steps, a network that was never trained, and pictures without guidance must miss what is asked of the others.
"""

from typing import Any

from experiments.diffusion.few_step_text import judge, students
from experiments.diffusion.few_step_text.config import Config, Guiding, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Guiding", "Thresholds"]

_STEPS: dict[str, Any] = {
    "reference": 6,
    "steps": (1, 2),
    "judged": 2,
    "coarse": 1,
    "saving": (2,),
    "learned": (2,),
    "fine": 4,
    "default": 2,
}
_LEARN: dict[str, Any] = {"learn_pairs": 4, "learn_batch": 4, "learn_iterations": 2, "distilled": 2}
_TAUGHT: dict[str, Any] = {"students": ("reflow",), "pairs": 8, "pair_steps": 2, "student_steps": 2, "student_batch": 8}
_FEW: dict[str, Any] = {"pictures": 8, "real": 24, "together": 8, "subsets": 2, "subset": 8, "resamples": 5, "shown": 8}

EXPERIMENT = Experiment(
    name="few-step-text",
    question="How few evaluations of a network does a picture of a caption need?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), networks=("shapes",), fresh=True, **_STEPS, **_LEARN, **_TAUGHT, **_FEW),
    train=students.train,
    evaluate=judge.evaluate,
    check=check,
)
