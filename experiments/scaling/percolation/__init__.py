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

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

EXPERIMENT = Experiment(
    name="percolation",
    question="Do skills appear at once when facts are read one by one?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sides=(20, 40), graphs=3, few=20, many=80, side=40, block=10, trained=2, rounds=20, resamples=20),
    train=None,
    evaluate=judge.evaluate,
    check=check,
)
