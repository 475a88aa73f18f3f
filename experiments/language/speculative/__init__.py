"""Is speculative decoding the same text, two to three times as fast?

    python -m experiments run speculative

tests the law of speculated tokens on tiny vocabularies, where it is known, and that planted mistakes are caught. On SmolLM2 it compares
greedy texts token by token, and times them by task: drafts are looked up in the text so far, or come from the model's own first blocks.
"""

from typing import Any

from experiments.language.speculative import judge
from experiments.language.speculative.config import Config, Thresholds
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_FEW: dict[str, Any] = {"draws": 500, "texts": 20, "prompts": 1, "rounds": 2, "max_tokens": 6}

EXPERIMENT = Experiment(
    name="speculative",
    question="Is speculative decoding the same text, two to three times as fast?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), early=1, tiny=True, **_FEW),
    train=None,
    evaluate=judge.evaluate,
)
