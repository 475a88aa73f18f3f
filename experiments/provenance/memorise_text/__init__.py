"""What does a language model remember word for word?

    python -m experiments run memorise-text

Random canaries are put into Python's manual 1 to 32 times, and two small models of bytes learn it. Whether greedy decoding after a part of
a canary gives the rest grows with its copies, with the size of the model and with the length of the part. Canaries that were never
trained on are the control.
"""

from typing import Any

from experiments.provenance.memorise_text import judge, train
from experiments.provenance.memorise_text.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {
    "train_steps": 4,
    "warmup": 1,
    "batch": 4,
    "rows": 60,
    "length": 32,
    "letters": 12,
    "suffix": 4,
    "prefixes": (2, 8),
    "copies": (1, 4),
    "canaries": 4,
    "unseen": 8,
    "candidates": 31,
    "widths": (8, 16),
    "depths": (1, 1),
}

ANSWER = Answer(
    roles={
        "slope": "E32",
        "likelihood": "E32",
        "permuted": "E32",
        "longer": "E33",
        "larger": "check",
        "unseen-*": "check",
    },
    text="what it reads often: random letters that stand 32 times in the text come back in {often:.0%} of cases, "
    "those that stand 4 times in {seldom:.0%}",
    statements={
        "E32": "Random letters come back in {often:.2f} of cases where they stand 32 times in the text, "
        "in {some:.2f} where 8 times, in {seldom:.2f} where 4 times",
        "E33": "Given 16 letters of the beginning instead of 2, the model completes a share "
        "{longer:.2f interval} more of the texts word for word",
    },
    numbers={
        "often": Cell("Canaries of which 16", (32,), "larger: extracted"),
        "some": Cell("Canaries of which 16", (8,), "larger: extracted"),
        "seldom": Cell("Canaries of which 16", (4,), "larger: extracted"),
    },
    before=(
        Change(
            "2026-11-27",
            "2ef2479",
            "A pilot with another seed led to 300 steps instead of 600, and to width 48 instead of 32.",
            "The pilot extracted every canary of two copies or more, so that nothing was left to grow with copies.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="memorise-text",
    question="What does a language model remember word for word?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), resamples=20, permutations=100, **_TINY),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
