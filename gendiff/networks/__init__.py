"""Networks as pure functions of their parameters; the only chapter that imports Flax."""

from gendiff.networks import (
    attention,
    autoencoder,
    convolution,
    diagonal_gaussian,
    discriminator,
    dit,
    embeddings,
    image_size,
    inception,
    language_model,
    lora,
    mixture_of_experts,
    rotary,
    routing,
    text,
    text_encoder,
    tiles,
    transformer,
    unet,
    vq_autoencoder,
)
from gendiff.networks.autoencoder import Autoencoder
from gendiff.networks.discriminator import PatchDiscriminator
from gendiff.networks.dit import DiT
from gendiff.networks.image_size import ImageSize
from gendiff.networks.inception import Inception
from gendiff.networks.language_model import LanguageModel
from gendiff.networks.mixture_of_experts import Experts
from gendiff.networks.module import PureFunction, count, init, pure
from gendiff.networks.text import NO_TEXT, Text
from gendiff.networks.text_encoder import TextEncoder
from gendiff.networks.unet import UNet
from gendiff.networks.vq_autoencoder import VQAutoencoder

__all__ = [
    "NO_TEXT",
    "Autoencoder",
    "DiT",
    "Experts",
    "ImageSize",
    "Inception",
    "LanguageModel",
    "PatchDiscriminator",
    "PureFunction",
    "Text",
    "TextEncoder",
    "UNet",
    "VQAutoencoder",
    "attention",
    "autoencoder",
    "convolution",
    "count",
    "diagonal_gaussian",
    "discriminator",
    "dit",
    "embeddings",
    "image_size",
    "inception",
    "init",
    "language_model",
    "lora",
    "mixture_of_experts",
    "pure",
    "rotary",
    "routing",
    "text",
    "text_encoder",
    "tiles",
    "transformer",
    "unet",
    "vq_autoencoder",
]
