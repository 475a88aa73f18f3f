"""Networks as pure functions of their parameters; the only chapter that imports Flax."""

from gendiff.networks import attention, convolution, dit, embeddings, inception, text_encoder, transformer, unet
from gendiff.networks.dit import DiT
from gendiff.networks.inception import Inception
from gendiff.networks.module import PureFunction, count, init, pure
from gendiff.networks.text_encoder import TextEncoder, TextFeatures
from gendiff.networks.unet import UNet

__all__ = [
    "DiT",
    "Inception",
    "PureFunction",
    "TextEncoder",
    "TextFeatures",
    "UNet",
    "attention",
    "convolution",
    "count",
    "dit",
    "embeddings",
    "inception",
    "init",
    "pure",
    "text_encoder",
    "transformer",
    "unet",
]
