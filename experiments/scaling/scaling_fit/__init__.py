"""Can a scaling law be fitted, and what do the published ones say? Approaches 1 to 3 on trainings whose law is known.

    python -m experiments run scaling-fit
    gendiff scaling-fit --data FILE.csv

The first command fits trainings that known laws make up: without noise, where the constants come back; with noise, where it counts how
often bootstrap intervals hold the truth; and it shows why parabolas (approach 2) miss the best size. Then it asks the published constants
for the best model of Chinchilla's budget, for the losses of GPT-3 and Chinchilla, and for what serving them costs. Nothing is trained.

The second command fits a table of trainings of one's own, with columns N, D or FLOP, and loss. It prints all approaches side by side
with intervals, and leaves fits.json, isoflop.png and surface.png.
"""

from experiments.scaling.scaling_fit import judge
from experiments.scaling.scaling_fit.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

EXPERIMENT = Experiment(
    name="scaling-fit",
    question="Can a scaling law be fitted, and what do the published ones say of the best model?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sizes=7, budgets=(1e18, 1e20, 1e22), replicates=4, resamples=8, shown_resamples=10),
    train=None,
    evaluate=judge.evaluate,
    check=check,
)
