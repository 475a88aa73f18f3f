"""Two networks against each other: losses, penalties and constraints of GANs, and what is said to keep them from collapsing."""

from gendiff.adversarial import augmentation, catalogue, constraints, growing, losses, packing, penalties, spectral
from gendiff.adversarial.losses import AdversarialLoss
from gendiff.adversarial.penalties import Penalty

__all__ = [
    "AdversarialLoss",
    "Penalty",
    "augmentation",
    "catalogue",
    "constraints",
    "growing",
    "losses",
    "packing",
    "penalties",
    "spectral",
]
