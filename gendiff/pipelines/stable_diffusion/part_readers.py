"""How each class of a folder is read: its network, the rules of its names, and inputs that tell its shapes."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gendiff import networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Config, PyTree
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
from gendiff.weights.rules import Conversion


class Reader(NamedTuple):
    """How a class is read.

    Attributes:
        stem: of the names of its files.
        network: (config, what other parts tell, further fields) -> the network.
        example: (the network, its channels of x) -> inputs of which shapes matter.
        params: the way from its arrays to parameters, and back.
        in_channels: those of a configuration that does not tell.
        packed: how many of them are one channel of x.
    """

    stem: str
    network: Callable[[Config, Config, Config], Any]  # a module of its class
    example: Callable[..., tuple[PyTree, ...]]
    params: Conversion
    in_channels: int = 0
    packed: int = 1


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


def _dit_example(network: networks.DiT | networks.SingleStreamTransformer, channels: int) -> tuple[PyTree, ...]:
    x, t = np.zeros((1, network.patch, network.patch, channels), np.float32), np.zeros(1, np.float32)
    if network.text_channels is None:
        return x, t, np.zeros(1, np.int32)
    scale = (networks.GuidanceScale(np.ones(1, np.float32)),) if network.guidance else ()
    return x, t, _text_condition(network), *scale


def _text_condition(
    network: networks.UNet | networks.ControlNet | networks.DiT | networks.SingleStreamTransformer,
) -> networks.Text:
    """One token, for its shapes."""
    pooled = None if network.pooled_channels is None else np.zeros((1, network.pooled_channels), np.float32)
    return networks.Text(np.zeros((1, 1, network.text_channels or 1), np.float32), np.ones((1, 1), bool), pooled)


def _autoencoder_example(network: networks.Autoencoder, channels: int) -> tuple[np.ndarray, ...]:
    side = 2 * network.factor  # FLUX.2 puts 2 × 2 of its latents into one
    return (np.zeros((1, side, side, network.in_channels), np.float32),)


def _text(config: Config, context: Config, more: Config) -> networks.TextEncoder:
    fields = transformers_clip.network_fields(config)
    if not context.get("penultimate"):
        return networks.TextEncoder(**fields, **more)
    if fields["depth"] < 2:
        raise ConfigError(f"num_hidden_layers = {fields['depth']}: the last block but one is read")
    return networks.TextEncoder(**fields, skip_last=1, norm_tokens=False, **more)


def _text_example(network: Any, channels: int) -> tuple[np.ndarray, ...]:
    return (np.zeros((1, 2), np.int32),)


def _reader(
    module: ModuleType, network: Callable[..., Any], example: Any, stem: str = files.STEM, **more: Any
) -> Reader:
    """Of a class whose configuration tells all fields of its network. module: its rules. more: of a Reader."""

    def build(config: Config, context: Config, fields: Config) -> Any:
        return network(**module.network_fields(config), **fields)

    return Reader(stem, build, example, module.params, **more)


def _transformer(module: ModuleType, network: Callable[..., Any] = networks.DiT, **more: Any) -> Reader:
    return _reader(module, network, _dit_example, in_channels=module.DEFAULTS["in_channels"], **more)


def _autoencoder(module: ModuleType, network: Callable[..., Any]) -> Reader:
    """It stays in float32, which it needs and which costs little."""
    return _reader(module, lambda dtype=None, **fields: network(**fields), _autoencoder_example)


READERS: Mapping[str, Reader] = {
    name: reader
    for names, reader in (
        (
            model_index.UNET,
            Reader(
                *(files.STEM, _unet, unet_example, diffusers_text_unet.params),
                diffusers_text_unet.DEFAULTS["in_channels"],
            ),
        ),
        (model_index.AUTOENCODER, _autoencoder(diffusers_autoencoder, networks.Autoencoder)),
        (model_index.DIT, _transformer(diffusers_dit)),
        (model_index.SD3_TRANSFORMER, _transformer(diffusers_sd3)),
        (model_index.FLUX_TRANSFORMER, _transformer(diffusers_flux, packed=diffusers_flux.PACKED)),
        (
            (*model_index.TEXT, *model_index.PROJECTED_TEXT),
            Reader("model", _text, _text_example, transformers_clip.params),
        ),
        (model_index.T5, _reader(transformers_t5, networks.T5Encoder, _text_example, "model")),
        (model_index.Z_IMAGE_TRANSFORMER, _transformer(diffusers_z_image, networks.SingleStreamTransformer)),
        (model_index.QWEN, _reader(transformers_qwen_encoder, networks.LanguageEncoder, _text_example, "model")),
        (model_index.FLUX_2_TRANSFORMER, _transformer(diffusers_flux2, packed=diffusers_flux.PACKED)),
        (model_index.FLUX_2_AUTOENCODER, _autoencoder(diffusers_flux2_autoencoder, networks.PatchNormedAutoencoder)),
    )
    for name in names
}
"""By class. A new class is one line here, and one in `model_index`."""
