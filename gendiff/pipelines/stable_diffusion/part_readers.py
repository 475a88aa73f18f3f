"""How each class of a folder is read: its network, the rules of its names, and inputs that tell its shapes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gendiff import networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Config, Params, PyTree
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.weights import (
    diffusers_autoencoder,
    diffusers_dit,
    diffusers_flux,
    diffusers_flux2,
    diffusers_flux2_autoencoder,
    diffusers_sd3,
    diffusers_text_unet,
    diffusers_z_image,
    files,
    transformers_clip,
    transformers_qwen_encoder,
    transformers_t5,
)
from gendiff.weights.rules import Rule


class Reader(NamedTuple):
    """How a class is read.

    Attributes:
        stem: of the names of its files.
        network: (config, what other parts tell, further fields) -> the network.
        example: (the network, its channels of x) -> inputs of which shapes matter.
        params: (config, arrays, like, maker=…) -> its parameters.
        rules: (config) -> the rules between its names and ours.
        in_channels: those of a configuration that does not tell.
        packed: how many of them are one channel of x.
        unused: (config) -> shapes of arrays of its files that no output depends on, by name.
    """

    stem: str
    network: Callable[[Config, Config, Config], Any]  # a module of its class
    example: Callable[..., tuple[PyTree, ...]]
    params: Callable[..., Params]
    rules: Callable[[Config], tuple[Rule, ...]]
    in_channels: int = 0
    packed: int = 1
    unused: Callable[[Config], Mapping[str, tuple[int, ...]]] = lambda _: {}


def _unet(config: Config, context: Config, more: Config) -> networks.UNet:
    return networks.UNet(**diffusers_text_unet.network_fields(config, context.get("pooled_channels")), **more)


def unet_example(network: networks.UNet | networks.ControlNet, channels: int) -> tuple[PyTree, ...]:
    """Return inputs of a U-Net, for their shapes: x, t, a text, and the size of the picture where it reads one."""
    side = 2 ** (len(network.channels) - 1)
    x = np.zeros((1, side, side, channels), np.float32)
    text = _text_condition(network)
    if not network.image_size:
        return x, np.zeros(1, np.float32), text
    two, one = np.zeros((1, 2), np.float32), np.zeros(1, np.float32)
    size = (
        networks.ImageSize(two, two, score=one) if network.image_size == "score" else networks.ImageSize(two, two, two)
    )
    return x, one, text, size


def _dit(config: Config, context: Config, more: Config) -> networks.DiT:
    return networks.DiT(**diffusers_dit.network_fields(config), **more)


def _dit_example(network: networks.DiT | networks.SingleStreamTransformer, channels: int) -> tuple[PyTree, ...]:
    x, t = np.zeros((1, network.patch, network.patch, channels), np.float32), np.zeros(1, np.float32)
    if network.text_channels is None:
        return x, t, np.zeros(1, np.int32)
    scale = (networks.GuidanceScale(np.ones(1, np.float32)),) if network.guidance else ()
    return x, t, _text_condition(network), *scale


def _sd3(config: Config, context: Config, more: Config) -> networks.DiT:
    return networks.DiT(**diffusers_sd3.network_fields(config), **more)


def _flux(config: Config, context: Config, more: Config) -> networks.DiT:
    return networks.DiT(**diffusers_flux.network_fields(config), **more)


def _z_image(config: Config, context: Config, more: Config) -> networks.SingleStreamTransformer:
    return networks.SingleStreamTransformer(**diffusers_z_image.network_fields(config), **more)


def _text_condition(
    network: networks.UNet | networks.ControlNet | networks.DiT | networks.SingleStreamTransformer,
) -> networks.Text:
    """One token, for its shapes."""
    pooled = None if network.pooled_channels is None else np.zeros((1, network.pooled_channels), np.float32)
    return networks.Text(np.zeros((1, 1, network.text_channels or 1), np.float32), np.ones((1, 1), bool), pooled)


def _autoencoder(config: Config, context: Config, more: Config) -> networks.Autoencoder:
    # float32, which it needs and which costs little
    fields = {name: value for name, value in more.items() if name != "dtype"}
    return networks.Autoencoder(**diffusers_autoencoder.network_fields(config), **fields)


def _autoencoder_example(network: networks.Autoencoder, channels: int) -> tuple[np.ndarray, ...]:
    return (np.zeros((1, network.factor, network.factor, network.in_channels), np.float32),)


def _flux_2(config: Config, context: Config, more: Config) -> networks.DiT:
    return networks.DiT(**diffusers_flux2.network_fields(config), **more)


def _flux_2_autoencoder(config: Config, context: Config, more: Config) -> networks.PatchNormedAutoencoder:
    fields = {name: value for name, value in more.items() if name != "dtype"}
    return networks.PatchNormedAutoencoder(**diffusers_flux2_autoencoder.network_fields(config), **fields)


def _flux_2_autoencoder_example(network: networks.Autoencoder, channels: int) -> tuple[np.ndarray, ...]:
    return (np.zeros((1, 2 * network.factor, 2 * network.factor, network.in_channels), np.float32),)


def _text(config: Config, context: Config, more: Config) -> networks.TextEncoder:
    fields = transformers_clip.network_fields(config)
    if not context.get("penultimate"):
        return networks.TextEncoder(**fields, **more)
    if fields["depth"] < 2:
        raise ConfigError(f"num_hidden_layers = {fields['depth']}: the last block but one is read")
    return networks.TextEncoder(**fields, skip_last=1, norm_tokens=False, **more)


def _t5(config: Config, context: Config, more: Config) -> networks.T5Encoder:
    return networks.T5Encoder(**transformers_t5.network_fields(config), **more)


def _qwen(config: Config, context: Config, more: Config) -> networks.LanguageEncoder:
    return networks.LanguageEncoder(**transformers_qwen_encoder.network_fields(config), **more)


def _text_example(network: Any, channels: int) -> tuple[np.ndarray, ...]:
    return (np.zeros((1, 2), np.int32),)


_UNET = Reader(
    *(files.STEM, _unet, unet_example, diffusers_text_unet.params, diffusers_text_unet.rules),
    diffusers_text_unet.DEFAULTS["in_channels"],
)
_AUTOENCODER = Reader(
    files.STEM, _autoencoder, _autoencoder_example, diffusers_autoencoder.params, diffusers_autoencoder.rules
)
_CLIP = Reader("model", _text, _text_example, transformers_clip.params, transformers_clip.rules)
_T5 = Reader("model", _t5, _text_example, transformers_t5.params, transformers_t5.rules)
_DIT = Reader(
    *(files.STEM, _dit, _dit_example, diffusers_dit.params, diffusers_dit.rules), diffusers_dit.DEFAULTS["in_channels"]
)
_SD3 = Reader(
    *(files.STEM, _sd3, _dit_example, diffusers_sd3.params, diffusers_sd3.rules),
    diffusers_sd3.DEFAULTS["in_channels"],
    unused=diffusers_sd3.unused,
)
_FLUX = Reader(
    *(files.STEM, _flux, _dit_example, diffusers_flux.params, diffusers_flux.rules),
    *(diffusers_flux.DEFAULTS["in_channels"], diffusers_flux.PACKED),
)
_Z_IMAGE = Reader(
    *(files.STEM, _z_image, _dit_example, diffusers_z_image.params, diffusers_z_image.rules),
    diffusers_z_image.DEFAULTS["in_channels"],
)
_QWEN = Reader(
    *("model", _qwen, _text_example, transformers_qwen_encoder.params, transformers_qwen_encoder.rules),
    unused=transformers_qwen_encoder.unused,
)
_FLUX_2 = Reader(
    *(files.STEM, _flux_2, _dit_example, diffusers_flux2.params, diffusers_flux2.rules),
    *(diffusers_flux2.DEFAULTS["in_channels"], diffusers_flux.PACKED),
)
_FLUX_2_AUTOENCODER = Reader(
    *(files.STEM, _flux_2_autoencoder, _flux_2_autoencoder_example),
    *(diffusers_flux2_autoencoder.params, diffusers_flux2_autoencoder.rules),
    unused=diffusers_flux2_autoencoder.unused,
)
READERS: Mapping[str, Reader] = {
    **dict.fromkeys(model_index.UNET, _UNET),
    **dict.fromkeys(model_index.AUTOENCODER, _AUTOENCODER),
    **dict.fromkeys(model_index.DIT, _DIT),
    **dict.fromkeys(model_index.SD3_TRANSFORMER, _SD3),
    **dict.fromkeys(model_index.FLUX_TRANSFORMER, _FLUX),
    **dict.fromkeys((*model_index.TEXT, *model_index.PROJECTED_TEXT), _CLIP),
    **dict.fromkeys(model_index.T5, _T5),
    **dict.fromkeys(model_index.Z_IMAGE_TRANSFORMER, _Z_IMAGE),
    **dict.fromkeys(model_index.QWEN, _QWEN),
    **dict.fromkeys(model_index.FLUX_2_TRANSFORMER, _FLUX_2),
    **dict.fromkeys(model_index.FLUX_2_AUTOENCODER, _FLUX_2_AUTOENCODER),
}
"""By class. A new class is one line here, and one in `model_index`."""
