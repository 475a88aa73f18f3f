"""Does a batch job lose anything: 50,000 samples in shards, and commands that are killed at random moments?

    python -m experiments run batch-jobs

trains the network of `digits`, draws 50,000 samples into shards, some of them once more without, in pairs of rounds, and scores them.
Then training runs and a sampling job are killed with signal 9 again and again, and compared byte by byte with the same commands left
alone. Last, two processes train together, and are preempted or lose one of them. About 30 minutes on 2 cores. The figures to expect are
in experiments/results/batch-jobs/README.md.
"""

from typing import Any

from experiments.diffusion.batch_jobs import judge
from experiments.diffusion.batch_jobs.config import Config, Thresholds, check, model
from gendiff.commands.images import image_sampling, image_training
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_FEW: dict[str, Any] = {"samples": 80, "compared": 40, "shard_size": 10, "rounds": 2, "together": 10, "sampling_steps": 4}
_UNDISTURBED: dict[str, Any] = {"kills": 0, "sample_kills": 0, "killed_samples": 0, "preemptions": 0, "deaths": 0}

ANSWER = Answer(
    roles={
        "cost": "aim",
        "same": "promise",
        "training": "promise",
        "sampling": "promise",
        "preemptions": "promise",
        "moved": "promise",
        "steps": "promise",
        "streamed": "check",
        "kills": "check",
        "sample-kills": "check",
        "deaths": "check",
        "other-*": "check",
    },
    text="no: after {kills:.0f} kills of a training and {sample-kills:.0f} of a sampling job, "
    "{training:.0f} bytes differ; shards take {cost:.2f} times as long",
)

EXPERIMENT = Experiment(
    name="batch-jobs",
    question="Does a batch job lose anything: 50,000 samples in shards, and commands killed at random moments?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(**image_training.SMOKE, **_FEW, **_UNDISTURBED),
    train=image_training.per_seed(model),
    evaluate=judge.evaluate,
    sample=image_sampling.command(model),
    check=check,
    answer=ANSWER,
)
