"""What does more computation at test time bring, and when is a verifier worse than a vote?

    python -m experiments run test-time

trains small networks on sums of numbers of four digits: one answers at once, one writes scratch-work first, one writes as many tokens
without content, and a larger one answers at once. Up to 64 answers of each are drawn, and made one by votes, by exact, noisy and learned
verifiers, against the operations that they take. Scratch-work gets budgets. Last, networks of digits that know no labels are steered by
choosing among the noises that their pictures start from, and a judge tells where a verifier is exploited. It takes about 20 minutes on 2
cores. Expect coverage to rise steadily, the majority to help where the right answer is the most frequent one and to hurt elsewhere, and
best of n to fall below it as the verifier's noise grows. The controls are filler tokens and a verifier that learned shuffled labels.
"""

from typing import Any

from experiments.preferences.test_time import judge, train
from experiments.preferences.test_time.config import Config, Pictures, Thresholds, check
from gendiff.commands.images import image_training
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Pictures", "Thresholds"]

_TINY: dict[str, Any] = {
    "digits": 2,
    "small": 8,
    "large": 12,
    "depth": 1,
    "train_steps": 8,
    "halvings": 1,
    "warmup": 2,
    "batch": 8,
    "log_every": 1,
}
_FEW: dict[str, Any] = {"pool": 64, "questions": 40, "samples": 4, "doublings": 1, "noises": (0.5, 2.0), "resamples": 20}

_SHARES, _BUDGETS, _DIRECT = "Share of right answers by how", "Share of right answers by the budget", "small, direct"

ANSWER = Answer(
    roles={
        "scratch-work": "E42",
        "mcnemar": "E42",
        "thinking": "E42",
        "budget-falls": "E42",
        "learned": "E42",
        "continues": "E42",
        "steered": "E42",
        "falls": "check",
        "oracle": "check",
        "mode": "check",
        "other-mode": "check",
        "strong": "check",
        "weak": "check",
        "gamed": "check",
        "filler": "check",
        "shuffled": "check",
    },
    text="in part: a vote of 64 lifts right sums from {one:.0%} to {vote:.0%}; the choice of a learned verifier "
    "lowers them to {verifier:.0%}",
    statements={
        "E42": "Scratch-work adds {scratch-work:.1% interval} of sums; a doubling of samples adds less than the last "
        "doubling of training ({continues:.2f})",
        "E45": "One place of scratch-work more than ever in training: {beyond:.1%} of sums are right, for "
        "{trained:.0%} at the trained length "
        "(first seed)",
    },
    numbers={
        "one": Cell(_SHARES, (_DIRECT, "majority"), "n = 1"),
        "vote": Cell(_SHARES, (_DIRECT, "majority"), "n = 64"),
        "verifier": Cell(_SHARES, (_DIRECT, "best of n, learned verifier"), "n = 64"),
        "beyond": Cell(_BUDGETS, ("10",), "seed 0"),
        "trained": Cell(_BUDGETS, ("8",), "seed 0"),
    },
    picture="compute.png",
    before=(
        Change(
            "2026-11-27",
            "09e5aa8",
            "A full run with numbers of five digits and 800 steps was not committed; numbers have four digits and 1,200 steps since.",
            "The small network learned direct sums in one seed of three, so votes and verifiers had nothing to choose from in the others.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="test-time",
    question="What does more computation at test time bring, and when is a verifier worse than a vote?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,), pictures=Pictures(**image_training.SMOKE, sampling_steps=2, sets=4, together=16, few=20, log_every=1), **_TINY, **_FEW
    ),
    train=judge.train_all,
    evaluate=judge.evaluate,
    check=check,
    plan=train.plan,
    answer=ANSWER,
)
