"""What do 8 and 4 bits per weight save, and what do they cost?

    python -m experiments run quantise

reads the weights of SmolLM2 in six formats: bytes, likelihood of real text, answers to a hundred questions, time of a step.
A transformer of digits is trained and sampled in three of them. A matrix with one large output shows why every output has a scale of
its own.
"""

from typing import Any

from experiments.language.quantise import images, judge
from experiments.language.quantise.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TEXT: dict[str, Any] = {"tokens": 128, "piece": 32, "questions": 4, "max_tokens": 2, "rounds": 2, "resamples": 20}
_DIGITS: dict[str, Any] = {"width": 16, "depth": 1, "samples": 80, "together": 40, "draws": 3, "draw_size": 60, "sampling_steps": 2}

ANSWER = Answer(
    roles={
        "saved-*": "E36",
        "lost-*": "E36",
        "answers-*": "E36",
        "images": "E36",
        "images-int4": "E36",
        "ungrouped": "check",
        "channel": "check",
        "tensor": "check",
    },
    text="8 bits: {saved-int8:.1f} times less memory, {lost-int8:.3f} nats per token lost; 4 bits: {saved-int4:.1f} times, "
    "but {lost-int4:.2f} nats (0.1 allowed)",
    statements={
        "E36": "8 bits save {saved-int8:.1f} times and lose {lost-int8:.3f interval} nats per token; "
        "4 bits save {saved-int4:.1f} times and lose {lost-int4:.2f}, more than the 0.1 allowed"
    },
    picture="likelihood.png",
    before=(
        Change(
            "2026-11-27",
            "3bda44a",
            "First full run: the same numbers of text; four bits changed the Fréchet distance of digits by 0.89 of the range of the seeds.",
            "A token in 8 bits took 258 ms: the compiler options of pictures gave eight-bit products to slow loops, so it was run again.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="quantise",
    question="What do 8 and 4 bits per weight save, and what do they cost?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), train_steps=4, warmup=1, batch=16, tiny=True, **_TEXT, **_DIGITS),
    train=images.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
