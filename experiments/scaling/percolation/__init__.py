"""Do skills appear at once when facts are read one by one? Paths through a random graph of facts, and a model that is trained on it.

    python -m experiments run percolation

A fact links one node of each of two sides, and a skill is an unseen pair that some path of facts links. Facts come one by one. The largest
component is held against its fixed point, and the place of the threshold against p · √(n₁ n₂) = 1, for equal and for unequal sides. A model
of low rank is trained on a growing share of the facts, whose values are the product of a sign on each side: it can know an unseen pair
where a path leads to it, and nowhere else. The same number of facts within small blocks, and facts with shuffled values, are the controls.
"""

from experiments.scaling.percolation import judge
from experiments.scaling.percolation.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

ANSWER = Answer(
    roles={
        "giant*": "check",
        "threshold*": "check",
        "dark": "E13",
        "lit": "E13",
        "jump": "E13",
        "band": "E13",
        "right": "E13",
        "chance": "E13",
        "learned": "E13",
        "band-facts": "check",
        "learned-*": "check",
    },
    text="yes, in a graph of facts: near the threshold pairs that facts link grow {jump:.0f} times as fast as facts, "
    "and a trained model knows them",
    statements={
        "E13": "Around the threshold, linked pairs grow {jump:.0f interval} times as much as facts; a model knows "
        "{learned:.2f} of all unseen pairs"
    },
    picture="skills.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "Claims are judged by the mean over seeds, no longer in each seed: guesses at pairs without a path were "
            "open before and pass now.",
            "A rule that does not depend on the number of seeds.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="percolation",
    question="Do skills appear at once when facts are read one by one?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sides=(20, 40), graphs=3, few=20, many=80, side=40, block=10, trained=2, rounds=20, resamples=20),
    train=None,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
