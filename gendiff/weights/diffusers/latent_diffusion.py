"""The single-file layout of latent diffusion: its names for a U-Net and an autoencoder become those of diffusers.

Such a file has no configuration. The config.json of the same model as a folder of diffusers says what the network is.
`single_file` takes a whole file apart, text encoders included, and `stable_diffusion.open_model(folder, weights=file)`
opens it.
"""

from collections.abc import Mapping

from gendiff.core.errors import CheckpointMismatchError
from gendiff.core.types import Config
from gendiff.weights.diffusers import diffusers_autoencoder, diffusers_text_unet
from gendiff.weights.quantised.gguf import Packed
from gendiff.weights.rules import Arrays, ForeignArray
from gendiff.weights.streamed import StoredArray

UNET, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
SHOWN = 3

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_AUTOENCODER_RESIDUAL = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {
    "nin_shortcut": "conv_shortcut"
}
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def unet(arrays: Arrays, config: Config, pooled_channels: int | None = None) -> dict[str, ForeignArray]:
    """Return the arrays of the U-Net under the names of `UNet2DConditionModel`, for `diffusers_text_unet.params`.

    Args:
        arrays: those of the file, by name. What does not begin with "model.diffusion_model." is left out: it is not of
            the U-Net. So are averaged parameters, whose names begin with "model_ema.".
        config: the config.json of the model.
        pooled_channels: as for `diffusers_text_unet.network_fields`.

    Raises:
        ConfigError: as `diffusers_text_unet.network_fields` does.
        CheckpointMismatchError: when the file holds no U-Net.
    """
    return renamed(arrays, UNET, unet_names(config, pooled_channels))


def autoencoder(arrays: Arrays, config: Config, prefix: str = AUTOENCODER) -> dict[str, ForeignArray]:
    """Return the arrays of the autoencoder under the names of `AutoencoderKL`, for `diffusers_autoencoder.params`.

    Its attention has convolutions of single pixels in place of linear layers; they come back as matrices.

    Args:
        arrays: those of the file, by name. What does not begin with the prefix is left out.
        config: the config.json of the model.
        prefix: how its names begin.

    Raises:
        ConfigError: as `diffusers_autoencoder.network_fields` does.
        CheckpointMismatchError: when the file holds no autoencoder.
    """
    named = renamed(arrays, prefix, autoencoder_names(config))
    return {name: _as_matrix(name, array) for name, array in named.items()}


def unet_names(config: Config, pooled_channels: int | None = None) -> dict[str, str]:
    """Return what the names of each part of a U-Net begin with: theirs in the single file, then in diffusers.

    Args:
        config: the config.json of the model.
        pooled_channels: as for `diffusers_text_unet.network_fields`.

    Raises:
        ConfigError: as `diffusers_text_unet.network_fields` does.
    """
    fields = diffusers_text_unet.network_fields(config, pooled_channels)
    levels, blocks, attending = len(fields["channels"]), fields["blocks"], fields["attention_levels"]
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "label_emb.0.0": "add_embedding.linear_1",
        "label_emb.0.2": "add_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "middle_block.1": "mid_block.attentions.0",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    residual = {"middle_block.0": "mid_block.resnets.0", "middle_block.2": "mid_block.resnets.1"}
    number = 1
    for level in range(levels):
        for block in range(blocks):
            residual[f"input_blocks.{number}.0"] = f"down_blocks.{level}.resnets.{block}"
            if level in attending:
                names[f"input_blocks.{number}.1"] = f"down_blocks.{level}.attentions.{block}"
            number += 1
        if level < levels - 1:
            names[f"input_blocks.{number}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
            number += 1
    number = 0
    for position, level in enumerate(reversed(range(levels))):
        for block in range(blocks + 1):
            residual[f"output_blocks.{number}.0"] = f"up_blocks.{position}.resnets.{block}"
            if level in attending:
                names[f"output_blocks.{number}.1"] = f"up_blocks.{position}.attentions.{block}"
            number += 1
        if level > 0:  # it stands behind the last block, and behind its attention
            names[f"output_blocks.{number - 1}.{2 if level in attending else 1}.conv"] = (
                f"up_blocks.{position}.upsamplers.0.conv"
            )
    return names | _within(residual, _RESIDUAL)


def autoencoder_names(config: Config) -> dict[str, str]:
    """Return what the names of each part of an autoencoder begin with: theirs in the single file, then in diffusers.

    Raises:
        ConfigError: as `diffusers_autoencoder.network_fields` does.
    """
    fields = diffusers_autoencoder.network_fields(config)
    levels, blocks = len(fields["channels"]), fields["blocks"]
    names = {name: name for name in ("quant_conv", "post_quant_conv")}
    residual: dict[str, str] = {}
    attention: dict[str, str] = {}
    for half in ("encoder", "decoder"):
        names |= {
            f"{half}.conv_in": f"{half}.conv_in",
            f"{half}.norm_out": f"{half}.conv_norm_out",
            f"{half}.conv_out": f"{half}.conv_out",
        }
        residual |= {f"{half}.mid.block_{block + 1}": f"{half}.mid_block.resnets.{block}" for block in range(2)}
        attention[f"{half}.mid.attn_1"] = f"{half}.mid_block.attentions.0"
    for level in range(levels):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{levels - 1 - level}"
        residual |= {f"encoder.down.{level}.block.{block}": f"{down}.resnets.{block}" for block in range(blocks)}
        residual |= {f"decoder.up.{level}.block.{block}": f"{up}.resnets.{block}" for block in range(blocks + 1)}
        names[f"encoder.down.{level}.downsample.conv"] = f"{down}.downsamplers.0.conv"
        names[f"decoder.up.{level}.upsample.conv"] = f"{up}.upsamplers.0.conv"
    return names | _within(residual, _AUTOENCODER_RESIDUAL) | _within(attention, _ATTENTION)


def renamed(arrays: Arrays, prefix: str, names: Mapping[str, str]) -> dict[str, ForeignArray]:
    """Return the arrays of one model of a file under other names.

    Those whose name is not known keep it, for `rules.to_ours` to refuse.

    Args:
        arrays: those of the file, by name.
        prefix: how the names of the model begin; others are left out.
        names: what the rest of a name begins with in the file -> in diffusers.

    Raises:
        CheckpointMismatchError: when no name begins so.
    """
    matching = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    if not matching:
        raise CheckpointMismatchError(
            f"no array begins with {prefix!r}, as in a single file of latent diffusion; there are {len(arrays)}: "
            f"{', '.join(sorted(arrays)[:SHOWN])}"
        )
    return {translated(name, names): array for name, array in matching.items()}


def translated(name: str, names: Mapping[str, str]) -> str:
    """Return a name of an array with another beginning. One that is not known stays, for `rules.to_ours` to refuse.

    Args:
        name: such as "input_blocks.1.1.proj_in.weight".
        names: what it may begin with -> what takes its place. The longest beginning counts.
    """
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:end])
        if head in names:
            return ".".join((names[head], *parts[end:]))
    return name


def _within(blocks: Mapping[str, str], parts: Mapping[str, str]) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{name}.{now}" for theirs, name in blocks.items() for part, now in parts.items()}


def _as_matrix(name: str, array: ForeignArray) -> ForeignArray:
    """A convolution of single pixels of an attention as a matrix; all else as it is."""
    if ".attentions." not in name or array.ndim != 4 or array.shape[2:] != (1, 1):
        return array
    matrix = array.shape[:2]
    return array.reshaped(matrix) if isinstance(array, StoredArray | Packed) else array.reshape(matrix)
