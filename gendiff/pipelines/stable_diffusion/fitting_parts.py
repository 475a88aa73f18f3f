"""Whether the parts of a folder fit each other; where they do not, that is an error of the folder."""

from collections.abc import Mapping, Sequence

from gendiff.core.errors import DataError
from gendiff.data.texts.row_tokenizer import RowTokenizer
from gendiff.pipelines.stable_diffusion import model_index, model_parts
from gendiff.pipelines.stable_diffusion.model_index import ModelIndex
from gendiff.pipelines.stable_diffusion.model_parts import TOWERS, Part


def check(index: ModelIndex, parts: Mapping[str, Part], tokenizers: Sequence[RowTokenizer]) -> None:
    """Look at a whole folder.

    Raises:
        DataError: path first, for parts that do not fit each other.
    """
    towers = {name: parts[name] for name in TOWERS if name in parts}
    for part, tokenizer in zip(towers.values(), tokenizers, strict=True):
        _check_tokenizer(part, tokenizer)
    network_part, autoencoder_part = parts["unet" if "unet" in parts else "transformer"], parts["vae"]
    _check_texts(index, network_part, towers)
    _check_latents(network_part, autoencoder_part, bool(towers))
    _check_told(index, network_part, bool(towers))


def _check_tokenizer(part: Part, tokenizer: RowTokenizer) -> None:
    network = part.network
    positions = getattr(network, "positions", getattr(network, "context", tokenizer.length))
    end = getattr(network, "end", tokenizer.end)
    if tokenizer.size > network.vocabulary or tokenizer.length > positions or tokenizer.end != end:
        facts = f"{tokenizer.size} ids, {tokenizer.length} tokens, end {tokenizer.end}"
        needed = f"{network.vocabulary}, {positions} and {end}"
        raise DataError(f"{part.folder}: does not fit its tokenizer, which has {facts}: it has {needed}")


def _check_texts(index: ModelIndex, part: Part, towers: Mapping[str, Part]) -> None:
    """The widths of what text encoders give are those that the network reads."""
    if not towers:
        return
    network = part.network
    groups = [[_width(towers[name]) for name in group if name in towers] for group in index.kind.tokens]
    widest = max(map(sum, groups))
    if widest != network.text_channels and (all(groups) or widest > network.text_channels):
        widths = ", then ".join(" + ".join(map(str, group)) for group in groups)
        raise DataError(
            f"{part.folder}: reads texts of {network.text_channels} channels, and the text encoders have {widths}"
        )
    encoders = [towers[name].network for name in index.kind.pooled]
    pooled = [encoder.projection or encoder.width for encoder in encoders]
    if pooled and "transformer" in index.parts and sum(pooled) != network.pooled_channels:
        raise DataError(
            f"{part.folder}: reads pooled texts of {network.pooled_channels} channels, and the text encoders have "
            f"{' + '.join(map(str, pooled))}"
        )


def _width(part: Part) -> int:
    """Channels of an encoded token."""
    width: int = getattr(part.network, "text_width", part.network.width)
    return width


def _check_latents(part: Part, autoencoder_part: Part, reads_texts: bool) -> None:
    """Sizes and channels of latents and pictures."""
    side = part.config.get("sample_size")
    sides = [side, side] if isinstance(side, int) else side
    if sides is not None and (len(sides) != 2 or min(sides) < 1):
        raise DataError(f"{part.folder / model_parts.CONFIG}: sample_size = {side!r} must be a positive number, or two")
    autoencoder, latent, out = (
        autoencoder_part.network,
        autoencoder_part.network.latent_channels,
        part.network.out_channels,
    )
    painting = [2 * latent + channels for channels in (1, autoencoder.factor**2)] if reads_texts else []
    if part.channels not in (latent, *painting) or out not in ((latent,) if reads_texts else (latent, 2 * latent)):
        raise DataError(
            f"{part.folder}: has {part.channels} channels in and {out} out, "
            f"which does not fit latents of {latent} channels"
        )
    if autoencoder.in_channels != 3 or autoencoder.out_channels not in (None, 3):
        raise DataError(f"{autoencoder_part.folder}: must read and write pictures of 3 channels")


def _check_told(index: ModelIndex, part: Part, reads_texts: bool) -> None:
    """What the network is told of the picture is what its pipeline tells."""
    image_size = part.network.image_size
    if index.kind is model_index.XL and image_size is False:
        raise DataError(
            f"{part.folder}: addition_embed_type = None: Stable Diffusion XL is told the size of the picture"
        )
    wants_score = bool(index.settings.get("requires_aesthetics_score"))
    if reads_texts and (image_size == "score") != wants_score:
        raise DataError(
            f"{index.folder / model_index.NAME}: requires_aesthetics_score = {wants_score} does not fit the U-Net"
        )
    if index.kind is model_index.STABLE and image_size is not False:
        raise DataError(f"{part.folder}: addition_embed_type belongs to Stable Diffusion XL")
