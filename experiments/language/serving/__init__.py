"""How fast is a language model served, and what bounds it?

    python -m experiments run serving

times steps of SmolLM2 for several numbers of texts and tokens, fits the two rates of the roofline to them, and says what published machines
could do at best. It also generates texts of unequal lengths, once in batches that wait for their longest, once with refilled places.
"""

from typing import Any

from experiments.language.serving import judge
from experiments.language.serving.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TEXTS: dict[str, Any] = {"prompts": 4, "places": 2, "longest": 6}

_STEPS = "Steps on this machine"

ANSWER = Answer(
    roles={"bandwidth": "aim", "gain": "aim", "continuous": "aim", "misfit": "check", "arithmetic": "check"},
    text="{one:.0f} tokens per second for one text, {sixteen:.0f} for 16; reading the parameters bounds one text, at "
    "{bandwidth:.0%} of the memory's rate",
    statements={
        "E38": "16 texts get {sixteen:.0f} tokens per second behind 128 tokens each and {long:.0f} behind 1,024: "
        "keys and values are read too"
    },
    numbers={
        "one": Cell(_STEPS, (1, 128), "tokens per second"),
        "sixteen": Cell(_STEPS, (16, 128), "tokens per second"),
        "long": Cell(_STEPS, (16, 1024), "tokens per second"),
    },
    picture="steps.png",
    before=(
        Change(
            "2026-11-26",
            "4c18bbb",
            "A first full run, not committed, failed the fit of two rates.",
            "Attention to many keys took several times as long as reading them (mended in 8069e46), and a timed step copied its cache.",
        ),
        Change(
            "2026-11-26",
            "8e6cdd7",
            "A timed step writes its cache in place.",
            "A step that kept the old cache copied all of it, which no loop of generate does.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="serving",
    question="How fast is a language model served, and what bounds it?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(batches=(1, 2), contexts=(16, 32), rounds=2, read_megabytes=4, resamples=20, tiny=True, **_TEXTS),
    train=None,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
