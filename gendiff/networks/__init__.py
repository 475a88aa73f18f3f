"""Networks as pure functions of their parameters; the only chapter that imports Flax."""

from gendiff.networks import attention, convolution, dit, embeddings, transformer, unet
from gendiff.networks.dit import DiT
from gendiff.networks.module import PureFunction, count, init, pure
from gendiff.networks.unet import UNet

__all__ = ["DiT", "PureFunction", "UNet", "attention", "convolution", "count", "dit", "embeddings", "init", "pure", "transformer", "unet"]
