"""Can a network improve its own answers by principles: critique and revision first, then preferences that it labels itself?

    python -m experiments run constitution

trains one small network in four tagged skills: answer, criticise, revise, judge. Answers spell a word backwards with a sign behind each
letter, and four principles about the signs can be checked by rules. The network is then tuned on its own revisions, and by DPO on pairs
that it has judged itself, in both orders; three seeds are trained by one program. It takes about 15 minutes on 2 cores. Expect
violations to halve and to fall again while the letters stay right. Controls tune on drafts without a revision and on labels of a coin.
The critic's competence is trained on examples that the rules wrote; it does not emerge.
"""

from typing import Any

from experiments.preferences.constitution import judge, train
from experiments.preferences.constitution.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_SIZES: dict[str, Any] = {
    "width": 16,
    "depth": 1,
    "batch": 8,
    "judged": 40,
    "revised": 8,
    "pairs": 40,
    "tuning_batch": 8,
    "preference_batch": 8,
}
_STEPS: dict[str, Any] = {"train_steps": 4, "warmup": 1, "tuning_steps": 2, "preference_steps": 2, "rounds": 2}

_ANSWERS, _BREAKS = "Answers to 2000 held-out requests", "breaks a principle"

ANSWER = Answer(
    roles={
        "halved": "E25",
        "fell-supervised": "E25",
        "fell-preference": "E25",
        "success": "E25",
        "agreement": "E25",
        "unrevised": "check",
        "shuffled": "check",
    },
    text="yes: answers that break a principle fall from {base:.0%} to {revised:.0%} by its revisions and to "
    "{labelled:.0%} by its own labels",
    statements={
        "E25": "Tuning on its own revisions leaves {halved:.2f interval} of the answers that break a principle; it "
        "labels its pairs itself. "
        "Rules taught its critic"
    },
    numbers={
        "base": Cell(_ANSWERS, ("base",), _BREAKS),
        "revised": Cell(_ANSWERS, ("tuned on its revisions",), _BREAKS),
        "labelled": Cell(_ANSWERS, ("and on its own labels",), _BREAKS),
    },
    picture="violations.png",
    before=(
        Change(
            "2026-11-27",
            "b3b758d",
            "8,000 pairs in place of 3,000, of which surer ones are labelled; 100 steps of preference tuning at 1e-4 "
            "in place of 150 at 3e-4.",
            "A pilot with a seed that the run does not have labelled too few pairs and spoiled answers; thresholds stayed.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="constitution",
    question="Can a network improve its own answers by principles that it was taught to judge?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), least=0.0, resamples=20, log_every=1, **_SIZES, **_STEPS),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
