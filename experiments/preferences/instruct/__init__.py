"""What makes a model that goes on with texts into one that answers?

    python -m experiments run instruct

trains a small model of bytes on facts and on sheets of orders that nobody answers, and tunes it on orders with responses: before, it goes
on with the sheet; after, it answers held-out orders and ends. Two tunings go wrong on purpose: on responses of other orders, and without
loss on the end. SmolLM2-135M-Instruct is asked a hundred questions as plain text, in a frame, and in its chat template. Three seeds are
trained by one program. It takes about 12 minutes on 2 cores, of which SmolLM2 takes 4.
"""

from typing import Any

from experiments.preferences.instruct import judge, train
from experiments.preferences.instruct.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {"width": 16, "depth": 1, "train_steps": 4, "warmup": 1, "batch": 8, "judged": 30, "pairs": 24}

ANSWER = Answer(
    roles={
        "continues": "E20",
        "before": "E20",
        "answers": "E21",
        "right": "E21",
        "template": "E21",
        "gained": "E21",
        "shuffled": "check",
        "endless": "check",
        "others": "check",
    },
    text="tuning on orders with responses: from {before:.0%} to {answers:.0%} of orders get a reply that ends, and "
    "{right:.0%} the right one",
    statements={
        "E20": "Before tuning, a small model goes on with a further order after {continues:.0%} of orders and answers {before:.0%}",
        "E21": "Tuned, a small model answers {right:.0%} of new orders rightly; SmolLM2 gives {gained:.2f interval} "
        "more right answers that end, by its template",
    },
    picture="orders.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "Claims are judged by the mean over seeds, no longer in each seed: the share of right answers failed in "
            "one seed and is open now.",
            "A rule that does not depend on the number of seeds.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="instruct",
    question="What makes a model that goes on with texts into one that answers?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), tuning_steps=2, tuning_batch=8, questions=4, max_tokens=4, resamples=20, log_every=1, tiny=True, **_TINY),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
