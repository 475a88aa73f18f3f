"""Networks as pure functions of their parameters; the only chapter that imports Flax."""

from gendiff.networks import attention, convolution, dit, embeddings, inception, transformer, unet
from gendiff.networks.dit import DiT
from gendiff.networks.inception import Inception
from gendiff.networks.module import PureFunction, count, init, pure
from gendiff.networks.unet import UNet

__all__ = [
    "DiT",
    "Inception",
    "PureFunction",
    "UNet",
    "attention",
    "convolution",
    "count",
    "dit",
    "embeddings",
    "inception",
    "init",
    "pure",
    "transformer",
    "unet",
]
