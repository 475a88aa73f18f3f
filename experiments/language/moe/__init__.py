"""What does a mixture of experts gain over one MLP?

    python -m experiments run moe

trains small language models of bytes on Python's manual: with experts, of which each token goes to a few; dense with as much computation
per token; dense with as many parameters. Experts without a balance loss show what that loss is for.
"""

from typing import Any

from experiments.language.moe import judge, networks
from experiments.language.moe.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {
    "train_steps": 4,
    "warmup": 1,
    "batch": 4,
    "length": 16,
    "width": 16,
    "depth": 1,
    "experts": 4,
    "judged": 8,
    "rounds": 2,
}

_LOSSES = "Networks on held-out text"

ANSWER = Answer(
    roles={
        "better": "E39",
        "operations": "E39",
        "seconds": "aim",
        "balance": "check",
        "busiest": "check",
        "collapsed": "check",
    },
    text="a little: loss of {experts:.3f} nats per byte; {active:.3f} for an MLP of equal computation, {total:.3f} "
    "for one of equal parameters",
    statements={
        "E39": "A mixture needs {operations:.0%} of the operations of a dense network of equal parameters, but "
        "{seconds:.2f interval} of its time"
    },
    numbers={
        "experts": Cell(_LOSSES, ("experts",), "nats per byte"),
        "active": Cell(_LOSSES, ("dense, equal computation",), "nats per byte"),
        "total": Cell(_LOSSES, ("dense, equal parameters",), "nats per byte"),
    },
    picture="loss.png",
)

EXPERIMENT = Experiment(
    name="moe",
    question="What does a mixture of experts gain over one MLP?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), resamples=20, **_TINY),
    train=networks.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
