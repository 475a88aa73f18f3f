"""Networks as pure functions of their parameters; the only chapter that imports Flax."""

from typing import TYPE_CHECKING

from gendiff.core.condition_records import (
    NO_TEXT,
    EndTime,
    GuidanceScale,
    Hint,
    History,
    ImageSize,
    ReferenceImages,
    Text,
)
from gendiff.core.first_use import on_first_use

if TYPE_CHECKING:
    from gendiff.networks import calls, lora
    from gendiff.networks.adversarial import critic, discriminator, generator, minibatch, progressive, r3gan
    from gendiff.networks.adversarial.critic import DCGANCritic, DenseCritic
    from gendiff.networks.adversarial.discriminator import PatchDiscriminator
    from gendiff.networks.adversarial.generator import DCGANGenerator, DenseGenerator
    from gendiff.networks.adversarial.progressive import ProgressiveCritic, ProgressiveGenerator
    from gendiff.networks.adversarial.r3gan import R3GANCritic, R3GANGenerator
    from gendiff.networks.blocks import mixture_of_experts, routing, transformer
    from gendiff.networks.blocks.mixture_of_experts import Experts
    from gendiff.networks.fast import feature_cache, tiles
    from gendiff.networks.fast.feature_cache import BlockChange, DeepFeatures
    from gendiff.networks.fast.frame_cache import FrameCache, frame_cache
    from gendiff.networks.images import (
        autoencoder,
        controlnet,
        diagonal_gaussian,
        dit,
        efficientnet_lite,
        inception,
        unet,
        video_transformer,
        vq_autoencoder,
    )
    from gendiff.networks.images.autoencoder import Autoencoder
    from gendiff.networks.images.controlnet import ControlNet
    from gendiff.networks.images.dit import DiT
    from gendiff.networks.images.efficientnet_lite import EfficientNetLite
    from gendiff.networks.images.inception import Inception
    from gendiff.networks.images.patch_normed_autoencoder import PatchNormedAutoencoder
    from gendiff.networks.images.projector import Projector
    from gendiff.networks.images.single_stream import SingleStreamTransformer
    from gendiff.networks.images.unet import UNet
    from gendiff.networks.images.video_transformer import VideoTransformer
    from gendiff.networks.images.video_unet import VideoUNet
    from gendiff.networks.images.vq_autoencoder import VQAutoencoder
    from gendiff.networks.inputs import control
    from gendiff.networks.inputs.control import Residuals
    from gendiff.networks.intermediate import WithIntermediate, with_intermediate
    from gendiff.networks.layers import attention, axial, convolution, embeddings, resampling, rotary
    from gendiff.networks.module import PureFunction, count, init, pure
    from gendiff.networks.texts import language_model, multimodal_transformer, t5_encoder, text_encoder
    from gendiff.networks.texts.language_encoder import LanguageEncoder
    from gendiff.networks.texts.language_model import LanguageModel
    from gendiff.networks.texts.multimodal_transformer import MultimodalTransformer, Picture
    from gendiff.networks.texts.t5_encoder import T5Encoder
    from gendiff.networks.texts.text_encoder import TextEncoder

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
    "History",
    "ImageSize",
    "Inception",
    "LanguageEncoder",
    "LanguageModel",
    "MultimodalTransformer",
    "PatchDiscriminator",
    "PatchNormedAutoencoder",
    "Picture",
    "ProgressiveCritic",
    "ProgressiveGenerator",
    "Projector",
    "PureFunction",
    "R3GANCritic",
    "R3GANGenerator",
    "ReferenceImages",
    "Residuals",
    "SingleStreamTransformer",
    "EndTime",
    "T5Encoder",
    "Text",
    "TextEncoder",
    "UNet",
    "VQAutoencoder",
    "VideoTransformer",
    "VideoUNet",
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
    "inception",
    "init",
    "feature_cache",
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
    "t5_encoder",
    "text_encoder",
    "tiles",
    "transformer",
    "unet",
    "video_transformer",
    "vq_autoencoder",
    "with_intermediate",
]

_FOLDERS = {
    "": "adversarial blocks calls fast images inputs intermediate layers lora module texts",
    "adversarial": "critic discriminator generator minibatch progressive r3gan",
    "blocks": "mixture_of_experts routing transformer",
    "fast": "feature_cache tiles",
    "images": "autoencoder controlnet diagonal_gaussian dit efficientnet_lite inception unet video_transformer "
    "vq_autoencoder",
    "inputs": "control",
    "layers": "attention axial convolution embeddings resampling rotary",
    "texts": "language_model multimodal_transformer t5_encoder text_encoder",
}
_NAMES = {
    "adversarial.critic": "DCGANCritic DenseCritic",
    "adversarial.discriminator": "PatchDiscriminator",
    "adversarial.generator": "DCGANGenerator DenseGenerator",
    "adversarial.progressive": "ProgressiveCritic ProgressiveGenerator",
    "adversarial.r3gan": "R3GANCritic R3GANGenerator",
    "blocks.mixture_of_experts": "Experts",
    "fast.feature_cache": "BlockChange DeepFeatures",
    "fast.frame_cache": "FrameCache frame_cache",
    "images.autoencoder": "Autoencoder",
    "images.controlnet": "ControlNet",
    "images.dit": "DiT",
    "images.efficientnet_lite": "EfficientNetLite",
    "images.inception": "Inception",
    "images.patch_normed_autoencoder": "PatchNormedAutoencoder",
    "images.projector": "Projector",
    "images.single_stream": "SingleStreamTransformer",
    "images.unet": "UNet",
    "images.video_transformer": "VideoTransformer",
    "images.video_unet": "VideoUNet",
    "images.vq_autoencoder": "VQAutoencoder",
    "inputs.control": "Residuals",
    "intermediate": "WithIntermediate with_intermediate",
    "module": "PureFunction count init pure",
    "texts.language_encoder": "LanguageEncoder",
    "texts.language_model": "LanguageModel",
    "texts.multimodal_transformer": "MultimodalTransformer Picture",
    "texts.t5_encoder": "T5Encoder",
    "texts.text_encoder": "TextEncoder",
}
_OLD_NAMES = {"SecondTime": "EndTime", "kept_features": "feature_cache"}
__getattr__, __dir__ = on_first_use(__name__, _FOLDERS, _NAMES, _OLD_NAMES)
