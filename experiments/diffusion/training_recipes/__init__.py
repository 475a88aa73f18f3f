"""Which changes to training make a network learn sooner, at equal steps?

    python -m experiments run training-recipes

trains networks of digits with the same seeds, batches and learning rate: a U-Net plainly, with logit-normal levels (Esser et al., 2024),
with the weights of min-SNR (Hang et al., 2023) and with immiscible noise (Li et al., 2025); and a small DiT plainly, with the blocks of
LightningDiT (RMS norm, SwiGLU, rotary positions, normalised heads; Yao et al., 2025), and aligned with the tokens of a classifier (REPA;
Yu et al., 2024). Plain training is the squared error of the velocity at levels spread evenly. After each of several numbers of steps the
average draws, and its digits are held against held-out ones by the Fréchet distance.

Plain training with other seeds must not seem to learn sooner, and alignment with a network that learned nothing stands beside REPA.
"""

from typing import Any

from experiments.diffusion.training_recipes import judge, train
from experiments.diffusion.training_recipes.config import Config, Thresholds, Transformer, check
from gendiff.commands.images import image_training
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change, Control

__all__ = ["EXPERIMENT", "Config", "Thresholds", "Transformer"]

_FEW: dict[str, Any] = {"samples": 40, "together": 40, "draws": 3, "draw_size": 30, "sampling_steps": 2, "shown": 5}
_SHORT: dict[str, Any] = {"seeds": (0, 1), "control_seeds": (2, 3), "parts": (2, 4), "early": 2}
_SMALL = Transformer(width=16, depth=2, projector=8, classifier_steps=2)

ANSWER = Answer(
    roles={"*-sooner": "aim", "*-no-worse": "aim", "*-other-seeds": "check", "untrained-frechet": "check"},
    controls=(
        Control("u-net-other-seeds", against="logit-normal-levels-sooner", by=">="),
        Control("dit-other-seeds", against="alignment-repa-sooner", by=">="),
    ),
    text="logit-normal levels ({logit-normal-levels-sooner:.2f} times plain training's distance at 250 steps) and "
    "REPA ({alignment-repa-sooner:.2f}); three others do not",
    statements={
        "E3": "Where t is drawn more often from the middle, the Fréchet distance after 250 steps is "
        "{logit-normal-levels-sooner:.2f interval} times that of even draws",
    },
    picture="unet.png",
    before=(
        Change(
            "2026-11-30",
            "670dae5bf",
            "Controls are compared with a treatment of the same measure, where they shared the threshold of their claim.",
            "A control that the treatment itself meets says nothing.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="training-recipes",
    question="Which changes to training make a network learn sooner, at equal steps?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(**image_training.SMOKE, **_FEW, **_SHORT, transformer=_SMALL, names=("DiT", "alignment (REPA)")),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
