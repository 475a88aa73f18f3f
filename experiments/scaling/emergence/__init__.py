"""Does an ability appear suddenly with size, and is that the network, the metric, or percolation?

    python -m experiments run emergence

trains networks of nine sizes on sums of three digits, all on the same number of tokens, with answers written units first and as on paper,
eight seeds each by one program. Held-out sums are judged by sharp metrics (exact match) and smooth ones (digits, edits, NLL, Brier), which
the chain rule ties to each other. It takes about 25 minutes on 2 cores. Expect exact match to jump from 0 to nearly 1 within a factor
of a few in size, while the loss falls over the whole range; a table says which of three hypotheses about that holds. The control learns
answers of other sums.
"""

from typing import Any

from experiments.scaling.emergence import judge, train
from experiments.scaling.emergence.config import Config, Hypotheses, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Hypotheses", "Thresholds"]

_TINY: dict[str, Any] = {"widths": (8, 16), "depth": 1, "train_steps": 4, "warmup": 1, "batch": 8, "judged": 40, "samples": 2}

_LARGE: dict[str, Any] = {"widths": (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512), "digits": 5, "train_steps": 10_000, "batch": 512}
"""For an accelerator: sums of 5 digits, over three decades of sizes."""

EXPERIMENT = Experiment(
    name="emergence",
    question="Does an ability appear suddenly with size, and is that the network, the metric, or percolation?",
    config=Config,
    presets={"full": Config(), "large": Config(**_LARGE)},
    smoke=Config(seeds=(0,), resamples=20, log_every=1, **_TINY),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
    plan=train.plan,
)
