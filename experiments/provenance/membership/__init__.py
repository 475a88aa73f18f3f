"""Can one tell which pictures a diffusion model was trained on?

    python -m experiments run membership

Shadow models and targets learn random halves of the digits, all of them as one program. The likelihood-ratio attack, which compares a
target with the shadow models picture by picture, finds more members at a false positive rate of 1 % than the loss alone does. With
shuffled membership it finds as many as chance.
"""

from typing import Any

from experiments.provenance.membership import judge, train
from experiments.provenance.membership.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {"shadows": 4, "targets": 3, "train_steps": 4, "warmup": 1, "batch": 16, "width": 16, "draws": 2}

ANSWER = Answer(
    roles={"gain": "check", "chance": "check", "chance-auc": "check"},
    text="for some: an attack with shadow models finds {lira:.1%} of them at 1 % false alarms, loss alone {loss:.1%}",
    statements={
        "E43": "An attack can tell training pictures from others: at 1 % false alarms it finds a share "
        "{gain:.3f interval} more of them than the loss alone does",
    },
    numbers={
        "lira": Cell("Attacks on members", ("LiRA",), "true positives at 1 %"),
        "loss": Cell("Attacks on members", ("loss",), "true positives at 1 %"),
    },
    before=(
        Change(
            "2026-11-27",
            "9d1af06",
            "First full run: LiRA found 0.022 more than the loss attack, and every claim and control passed.",
            "A fault of the compiler gave wrong gradients, so that the networks learned less.",
        ),
        Change(
            "2026-11-30",
            "9fdd4e3",
            "The study passes instead of being open: each of the two controls is open in one of three seeds.",
            "Claims are judged by the mean over seeds, in all studies.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="membership",
    question="Can one tell which pictures a diffusion model was trained on?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), resamples=20, **_TINY),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
