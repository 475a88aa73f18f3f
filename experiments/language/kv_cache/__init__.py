"""Does a key/value cache change anything but the time?

    python -m experiments run kv-cache

compares logits with a cache and without, on the real weights of SmolLM2 and real text: every split of reading and generating,
texts of unequal lengths, chunks, windows, pages, after a rewind. It counts programs, times one more token by the length of the text,
and counts bytes.
"""

from experiments.language.kv_cache import judge
from experiments.language.kv_cache.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TIMES = "Milliseconds of one more token"

ANSWER = Answer(
    roles={
        "flat": "E38",
        "programs": "promise",
        "splits": "check",
        "ragged": "check",
        "chunks": "check",
        "rewound": "check",
        "window": "check",
        "pages": "check",
        "bytes": "check",
        "int8": "check",
        "not-rewound": "check",
        "local-window": "check",
        "growing": "check",
    },
    text="no, beyond rounding (logits within {window:.0e}); a token behind 1,024 others takes {cached:.0f} ms in place of {without:.0f} ms",
    statements={
        "E38": "The time of one more token grows with the length of the text to the power {flat:.2f interval} with a "
        "cache, {growing:.2f} without"
    },
    numbers={"cached": Cell(_TIMES, (1024,), "with a cache"), "without": Cell(_TIMES, (1024,), "without")},
    picture="times.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "Claims are judged by the mean over seeds, no longer in each: chunks and the ring failed, splits and unequal lengths passed; "
            "all four are open now.",
            "A rule that does not depend on the number of seeds.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="kv-cache",
    question="Does a key/value cache change anything but the time?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), tokens=20, window=4, chunks=(1, 8), steps=4, lengths=(8, 16), rounds=2, judged=64, resamples=20, tiny=True),
    train=None,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
