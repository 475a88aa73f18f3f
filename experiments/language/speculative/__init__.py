"""Is speculative decoding the same text, two to three times as fast?

    python -m experiments run speculative

tests the law of speculated tokens on tiny vocabularies, where it is known, and that planted mistakes are caught. On SmolLM2 it compares
greedy texts token by token, and times them by task: drafts are looked up in the text so far, or come from the model's own first blocks.
"""

from typing import Any

from experiments.language.speculative import judge
from experiments.language.speculative.config import Config, Thresholds
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_FEW: dict[str, Any] = {"draws": 500, "texts": 20, "prompts": 1, "rounds": 2, "max_tokens": 6}

ANSWER = Answer(
    roles={
        "same-*": "E37",
        "speed-*": "E37",
        "first": "check",
        "joint": "check",
        "acceptance": "check",
        "per-call": "check",
        "skipped": "check",
        "swapped": "check",
        "unprocessed": "check",
    },
    text="in part: always the same text, {speed-copying:.1f} times as fast where it repeats its prompt, "
    "{speed-free-text:.1f} times in free text",
    statements={
        "E37": "By prompt lookup a copied text is written {speed-copying:.2f interval} times as fast, a free text "
        "{speed-free-text:.2f} times; "
        "all texts are the same"
    },
    picture="gains.png",
)

EXPERIMENT = Experiment(
    name="speculative",
    question="Is speculative decoding the same text, two to three times as fast?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), early=1, tiny=True, **_FEW),
    train=None,
    evaluate=judge.evaluate,
    answer=ANSWER,
)
