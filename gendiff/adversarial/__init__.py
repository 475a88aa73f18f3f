"""Two networks against each other: losses, penalties and constraints of GANs, and remedies against mode collapse."""

from gendiff.adversarial import (
    augmentation,
    catalogue,
    constraints,
    growing,
    losses,
    packing,
    penalties,
    spectral,
    step,
    watch,
)
from gendiff.adversarial.losses import AdversarialLoss
from gendiff.adversarial.penalties import Penalty
from gendiff.adversarial.step import AdversarialState, make_step, normal_noise, start

__all__ = [
    "AdversarialLoss",
    "AdversarialState",
    "Penalty",
    "augmentation",
    "catalogue",
    "constraints",
    "growing",
    "losses",
    "make_step",
    "normal_noise",
    "packing",
    "penalties",
    "spectral",
    "start",
    "step",
    "watch",
]
