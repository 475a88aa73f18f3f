"""When does a diffusion model copy its training pictures?

    python -m experiments run memorise

Small networks learn nested sets of digits, two disjoint halves, and a set in which some pictures stand many times, all by the same steps.
Samples on a grid of steps show which share of them are copies, and since when. The exact memoriser and a Gaussian stand beside them as
what copies everything and what copies nothing.
"""

from typing import Any

from experiments.provenance.memorise import judge, train
from experiments.provenance.memorise.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_SETS: dict[str, Any] = {"sizes": (16, 32, 64), "halves": (16, 32), "copies": (1, 4), "copied": 4, "inside": 32}
_FEW: dict[str, Any] = {"train_steps": 8, "first": 4, "warmup": 1, "batch": 16, "width": 16, "samples": 40, "last_samples": 60}

ANSWER = Answer(
    roles={
        "memorised": "E31",
        "generalised": "E31",
        "copies-*": "E31",
        "removed": "E31",
        "agreement*": "E31",
        "slope": "E31",
        "often": "E32",
        "once": "E32",
        "deduplicated": "check",
        "memoriser": "check",
        "gaussian": "check",
    },
    text="where pictures are few or repeated: one that stands 32 times in the set comes back in {often:.0%} of cases, "
    "one that stands once in {once:.0%}",
    statements={
        "E31": "A share {memorised:.2f interval} of samples are copies where the set has 64 pictures, "
        "and {generalised:.2f} where it has 1,024",
        "E32": "Pictures that stand 32 times in the set come back in {often:.2f interval} of cases, "
        "and those that stand there once in {once:.2f} of cases",
    },
    picture="regenerated.png",
    before=(
        Change(
            "2026-11-27",
            "f674c8e",
            "A first full run is not shown, and its numbers are not recorded.",
            "A fault of the compiler gave its networks wrong gradients.",
        ),
        Change(
            "2026-11-30",
            "9fdd4e3",
            "Copies with 64 pictures and the control without duplicates are open; both pass in each of three seeds.",
            "Claims are judged by the mean over seeds, in all studies.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="memorise",
    question="When does a diffusion model copy its training pictures, and which of them?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sampling_steps=4, resamples=20, permutations=100, **_SETS, **_FEW),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
