"""Can one tell texts that a key has marked from others, and at what cost?

    python -m experiments run watermark-text

Scores of real text under random keys are held against their exact law, and those of texts from flat logits against the formula. SmolLM2
then writes marked texts: how many are found, what they cost in likelihood, and what is left after words were changed, deleted, cut off or
written anew. A wrong key, and the common mistake of counting every repeat, are the controls.
"""

from typing import Any

from experiments.provenance.watermark_text import judge, texts
from experiments.provenance.watermark_text.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_FEW: dict[str, Any] = {"null_texts": 40, "flat_texts": 8, "texts": 4, "few": 4, "together": 4, "tokens": 40, "prompt": 8, "resamples": 20}

ANSWER = Answer(
    roles={
        "found": "E34",
        "false-positives-*": "E34",
        "null-*": "check",
        "flat-*": "check",
        "cost": "check",
        "entropy": "check",
        "changed-*": "check",
        "repeats": "check",
        "wrong-key": "check",
    },
    text="yes: {found:.0%} of texts of 200 tokens are found and {wrong-key:.0%} with a wrong key; "
    "the strongest mark costs {cost:.2f} nats per token",
    statements={
        "E34": "The key finds {found:.2f interval} of marked texts of 200 tokens, "
        "and {replaced:.2f} after half of their tokens were replaced",
    },
    numbers={"replaced": Cell("What changes leave", ("replaced", 0.5), "found")},
    picture="attacks.png",
)

EXPERIMENT = Experiment(
    name="watermark-text",
    question="Can one tell texts that a key has marked from others, and at what cost?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), lengths=(20, 40), vocabulary=64, tiny=True, **_FEW),
    train=texts.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
