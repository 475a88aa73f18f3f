"""Networks as pure functions of their parameters; the only chapter that imports Flax."""

from gendiff.networks import (
    attention,
    autoencoder,
    axial,
    calls,
    control,
    controlnet,
    convolution,
    critic,
    diagonal_gaussian,
    discriminator,
    dit,
    efficientnet_lite,
    embeddings,
    generator,
    guidance_scale,
    image_size,
    inception,
    kept_features,
    language_model,
    lora,
    minibatch,
    mixture_of_experts,
    multimodal_transformer,
    progressive,
    r3gan,
    resampling,
    rotary,
    routing,
    second_time,
    t5_encoder,
    text,
    text_encoder,
    tiles,
    transformer,
    unet,
    video_transformer,
    vq_autoencoder,
)
from gendiff.networks.autoencoder import Autoencoder
from gendiff.networks.control import Hint, Residuals
from gendiff.networks.controlnet import ControlNet
from gendiff.networks.critic import DCGANCritic, DenseCritic
from gendiff.networks.discriminator import PatchDiscriminator
from gendiff.networks.dit import DiT
from gendiff.networks.efficientnet_lite import EfficientNetLite
from gendiff.networks.frame_cache import FrameCache, frame_cache
from gendiff.networks.generator import DCGANGenerator, DenseGenerator
from gendiff.networks.guidance_scale import GuidanceScale
from gendiff.networks.image_size import ImageSize
from gendiff.networks.inception import Inception
from gendiff.networks.intermediate import WithIntermediate, with_intermediate
from gendiff.networks.kept_features import BlockChange, DeepFeatures
from gendiff.networks.language_model import LanguageModel
from gendiff.networks.mixture_of_experts import Experts
from gendiff.networks.module import PureFunction, count, init, pure
from gendiff.networks.multimodal_transformer import MultimodalTransformer, Picture
from gendiff.networks.progressive import ProgressiveCritic, ProgressiveGenerator
from gendiff.networks.projector import Projector
from gendiff.networks.r3gan import R3GANCritic, R3GANGenerator
from gendiff.networks.second_time import SecondTime
from gendiff.networks.t5_encoder import T5Encoder
from gendiff.networks.text import NO_TEXT, Text
from gendiff.networks.text_encoder import TextEncoder
from gendiff.networks.unet import UNet
from gendiff.networks.video_transformer import VideoTransformer
from gendiff.networks.vq_autoencoder import VQAutoencoder

__all__ = [
    "NO_TEXT",
    "Autoencoder",
    "BlockChange",
    "ControlNet",
    "DCGANCritic",
    "DCGANGenerator",
    "DeepFeatures",
    "DenseCritic",
    "DenseGenerator",
    "DiT",
    "EfficientNetLite",
    "Experts",
    "FrameCache",
    "GuidanceScale",
    "Hint",
    "ImageSize",
    "Inception",
    "LanguageModel",
    "MultimodalTransformer",
    "PatchDiscriminator",
    "Picture",
    "ProgressiveCritic",
    "ProgressiveGenerator",
    "Projector",
    "PureFunction",
    "R3GANCritic",
    "R3GANGenerator",
    "Residuals",
    "SecondTime",
    "T5Encoder",
    "Text",
    "TextEncoder",
    "UNet",
    "VQAutoencoder",
    "VideoTransformer",
    "WithIntermediate",
    "attention",
    "autoencoder",
    "axial",
    "calls",
    "control",
    "controlnet",
    "convolution",
    "count",
    "critic",
    "diagonal_gaussian",
    "discriminator",
    "dit",
    "efficientnet_lite",
    "embeddings",
    "frame_cache",
    "generator",
    "guidance_scale",
    "image_size",
    "inception",
    "init",
    "kept_features",
    "language_model",
    "lora",
    "minibatch",
    "mixture_of_experts",
    "multimodal_transformer",
    "progressive",
    "pure",
    "r3gan",
    "resampling",
    "rotary",
    "routing",
    "second_time",
    "t5_encoder",
    "text",
    "text_encoder",
    "tiles",
    "transformer",
    "unet",
    "video_transformer",
    "vq_autoencoder",
    "with_intermediate",
]
