"""Does a key/value cache change anything but the time?

    python -m experiments run kv-cache

compares logits with a cache and without, on the real weights of SmolLM2 and real text: every split of reading and generating,
texts of unequal lengths, chunks, windows, pages, after a rewind. It counts programs, times one more token by the length of the text,
and counts bytes.
"""

from experiments.language.kv_cache import judge
from experiments.language.kv_cache.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

EXPERIMENT = Experiment(
    name="kv-cache",
    question="Does a key/value cache change anything but the time?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), tokens=20, window=4, chunks=(1, 8), steps=4, lengths=(8, 16), rounds=2, judged=64, resamples=20, tiny=True),
    train=None,
    evaluate=judge.evaluate,
    check=check,
)
