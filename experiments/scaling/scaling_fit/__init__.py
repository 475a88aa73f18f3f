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
from gendiff.runs.reporting.answers import Answer, Cell

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_BEST = "The best model of 5.76e23 operations"

ANSWER = Answer(
    roles={
        "better-kaplan": "check",
        "near-hoffmann": "check",
        "near-kaplan": "check",
        "better-*": "E18",
        "cheaper": "E18",
        "near-epoch": "E17",
        "shrunk": "E19",
        "recovered-*": "check",
        "varpro-*": "check",
        "slope-*": "check",
        "offset-*": "check",
        "biased-*": "check",
        "told*": "check",
        "coverage*": "check",
    },
    text="yes; for the operations of Chinchilla (70 billion parameters) the refitted law says {epoch:.0f} billion, "
    "Kaplan's {kaplan:.0f} billion",
    statements={
        "E16": "By its published constants it does: for Chinchilla's operations it asks for {near-kaplan:.1f} times "
        "Chinchilla's 70 billion parameters",
        "E17": "Approach 3, fitted again to the published data, has an exponent of {exponent:.2f} and a best size of "
        "{epoch:.0f} billion at Chinchilla's "
        "operations",
        "E18": "By the refitted law Chinchilla's loss is {better-epoch:.3f} nats below that of GPT-3; a token costs "
        "{cheaper:.1f} times less",
        "E19": "Where ten times its training tokens are served, the cheapest model as good as Chinchilla has {shrunk:.2f} of its size",
    },
    numbers={
        "epoch": Cell(_BEST, ("approach 3 fitted again",), "parameters, billions"),
        "kaplan": Cell(_BEST, ("Kaplan, frontier",), "parameters, billions"),
        "exponent": Cell(_BEST, ("approach 3 fitted again",), "exponent"),
    },
    picture="surface.png",
)

EXPERIMENT = Experiment(
    name="scaling-fit",
    question="Can a scaling law be fitted, and what do the published ones say of the best model?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sizes=7, budgets=(1e18, 1e20, 1e22), replicates=4, resamples=8, shown_resamples=10),
    train=None,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
