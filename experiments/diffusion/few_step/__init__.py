"""How few evaluations of a network does a digit of full quality need, by better levels and by distillation?

    python -m experiments run few-step

trains one network of digits per seed, the teacher, and students that learn from it or from the data to draw in 1 to 8 evaluations:
progressive distillation, reflow, consistency distillation and training, shortcut models, MeanFlow and distribution matching. Each has as
many operations as the teacher's own training had. Beside them stand samplers of the teacher itself on fixed, cut and learned levels. All
are held against the teacher's DDIM in many steps, from the same noise and labels. A student that was never trained, and DDIM in as few
steps, must miss what is asked of students.

A run that was interrupted goes on with the training where it stood; samples are drawn again.
"""

from typing import Any

from experiments.diffusion.few_step import judge, train
from experiments.diffusion.few_step.config import Config, Thresholds, check, model
from gendiff.commands.images import image_sampling, image_training
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change, Control

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_SHORT: dict[str, Any] = {
    "reference": 8,
    "pairs": 32,
    "pair_steps": 2,
    "fine": 4,
    "learn_iterations": 2,
    "learn_pairs": 16,
    "learn_batch": 16,
}
_FEW: dict[str, Any] = {
    "evaluations": (1, 2),
    "judged": 2,
    "equal": 2,
    "samples": 40,
    "together": 40,
    "draws": 3,
    "draw_size": 30,
    "resamples": 5,
}

_STUDENTS = ("progressive-*", "reflow", "consistency-*", "shortcut", "meanflow", "distribution-matching")

ANSWER = Answer(
    roles={"*-equal": "aim", **dict.fromkeys(_STUDENTS, "aim"), "*-worse": "check"},
    controls=(
        Control("ddim-worse", against="reflow", by=">="),
        Control("untrained-student-worse", against="reflow", by=">="),
    ),
    text="4 with a student by reflow (Fréchet distance {reflow:.0%} against DDIM in 50), 8 with DDIM on learned levels "
    "({ddim-learned-levels-equal:.0%} off)",
    statements={
        "E5": "On learned levels DDIM does in 8 evaluations what it does in 50: Fréchet distances "
        "{ddim-learned-levels-equal:.2f interval} apart, relative (0.1 allowed)",
    },
    picture="students.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "The mean over seeds is judged, not every seed: DDIM on learned levels went from open to PASS.",
            "The rule must not depend on the number of seeds. No number changed.",
        ),
        Change(
            "2026-11-30",
            "670dae5bf",
            "Controls are compared with a treatment of the same measure, where they shared the threshold of their claim.",
            "A control that the treatment itself meets says nothing.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="few-step",
    question="How few evaluations of a network does a digit of full quality need?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), students=("shortcut",), **image_training.SMOKE, **_SHORT, **_FEW),
    train=train.train,
    evaluate=judge.evaluate,
    sample=image_sampling.command(model),
    check=check,
    answer=ANSWER,
)
