"""Can one network draw what a text says, say what a picture shows, and answer questions about it, and does it lose by doing both?

    python -m experiments run multimodal

trains transformers whose sequence holds texts and pictures (Transfusion): next tokens by their likelihood, pictures by denoising. On digits
one learns both directions, and two twins one direction each. Its drawings are read by a classifier, its captions of held-out digits are
compared with the labels, and both losses with those of the twins. On scenes of shapes one learns questions, and is asked about pairs of
colour and shape that no training showed. Captions of other digits and questions about other scenes must miss.

    python -m experiments sample runs/multimodal --caption "a three" --out threes.png
"""

from typing import Any

from experiments.multimodal import draw, judge, train
from experiments.multimodal.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "train_steps": 3, "scene_steps": 3, "batch": 4, "side": 16}
_FEW: dict[str, Any] = {"sampling_steps": 2, "samples": 20, "asked": 20, "together": 20, "resamples": 20, "log_every": 1}

EXPERIMENT = Experiment(
    name="multimodal",
    question="Can one network draw what a text says and say what a picture shows, and does it lose by doing both?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), **_TINY, **_FEW),
    train=train.train,
    evaluate=judge.evaluate,
    sample=draw.SAMPLE,
    check=check,
    plan=train.plan,
)
