"""How should a video model attend, does a rollout drift, and what do frames and pixels cost?

    python -m experiments run video

trains three transformers by as many operations on digits that move over a torus: every patch of a clip sees all others, or those of its
frame and those of its place in turn, or those of its own frame and of earlier ones. Their clips are held against held-out ones: the
confidence of a classifier in the digit that was asked for, the displacement between frames by phase correlation, whether the digit stays
the same, and a Fréchet distance. The causal network learns with a noise level for each frame, and is rolled out frame by frame against its
cache, to ten times the length of training, with and without noise on what it looks back at. A frame is timed with the cache and without,
and a clip by frames and by pixels. Clips with shuffled frames, and those of an untrained network, must miss.

    python -m experiments sample runs/video --frames 32 --out clips.webp
    gendiff video --label 3

The second command draws with the network that is committed.
"""

from typing import Any

from experiments.video import cards, judge, train
from gendiff.commands.video import draw
from gendiff.commands.video.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {"frames": 3, "width": 12, "depth": 2, "heads": 2, "flops": 1e7, "batch": 4, "log_every": 1}
_FEW: dict[str, Any] = {"sampling_steps": 2, "samples": 10, "real": 10, "draws": 3, "together": 10, "long": 2, "long_samples": 10}
_SHORT: dict[str, Any] = {"lengths": (2, 3), "sides": (16, 20), "rounds": 2, "call_seconds": 0.001, "resamples": 20}

EXPERIMENT = Experiment(
    name="video",
    question="How should a video model attend, does a rollout drift, and what do frames and pixels cost?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), **_TINY, **_FEW, **_SHORT),
    train=train.train,
    evaluate=judge.evaluate,
    sample=draw.SAMPLE,
    check=check,
    plan=train.plan,
    pages=cards.pages,
)
