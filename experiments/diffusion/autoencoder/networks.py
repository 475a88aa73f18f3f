"""What the autoencoder study trains: its numbers, pictures, networks, and their trainings, of which later ones stand on
earlier ones.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from experiments.diffusion.autoencoder import edges
from gendiff import networks
from gendiff.commands.images import emoji_pictures, image_coding, image_training
from gendiff.commands.images.image_coding import Factor, LatentChannels
from gendiff.commands.images.image_model import Model
from gendiff.commands.images.image_training import Learning
from gendiff.core.types import Loss, Params
from gendiff.data import textures
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch
from gendiff.networks import Autoencoder
from gendiff.networks.images.autoencoder import LatentAutoencoder
from gendiff.runs import ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, NonNegative, Seed, Several
from gendiff.runs.run_folder import RunFolder

SUBJECTS = ("emoji", "textures")
"""The subject's number is the condition of the diffusion models."""
SIDE = 32
"""Pixels of a side."""
EDGES, LONGER = "decoder_edges", "decoder_longer"
"""Folders of the decoders that train on: with the loss on edges, and without."""
LATENTS, PIXELS = "latents", "pixels"
"""Folders of the diffusion models."""
KL_WEIGHT = 1e-6
"""Weight of the divergence in nats, in the unit of the published one."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of training; the first trains every autoencoder, each further one the chosen autoencoder, and all what
    stands on that.
    """
    pictures: emoji_pictures.Training = 1500
    """Training pictures of each subject: emoji and textures."""
    held_out: emoji_pictures.HeldOut = 380
    """Held-out pictures of each subject."""
    factors: Distinct[Factor] = (4, 8)
    """Downsampling factors, ascending; claims compare the first and the last of several."""
    latent_channels: Distinct[LatentChannels] = (4, 16)
    """Channels of a latent, ascending; likewise."""
    factor: Factor = 4
    """Of the autoencoder that the latent model stands on, one of `factors`."""
    channels: Count = 4
    """Likewise, one of `latent_channels`."""
    autoencoders: Learning = Learning(train_steps=3000, batch=16, channels=(24, 48, 64, 64), optimizer="muon")
    """Of each autoencoder; a factor of 2, 4 or 8 takes the first 2, 3 or 4 channels. No condition is dropped, since
    there is none.
    """
    perceptual_weight: NonNegative = 0.1
    """Weight of the distance in a map of EfficientNet-Lite0 (extra `judge`) beside that of pixels, in training the
    autoencoders; 0 leaves it out.
    """
    decoders: Learning = Learning(train_steps=400, batch=32, learning_rate=5e-4)
    """Of the decoder alone, once with the further loss on edges and once without; its channels are those of the
    autoencoder.
    """
    latents: Learning = Learning(train_steps=1500, channels=(48, 96), drop_condition=0.0)
    """Of the diffusion model of latents, whose condition is the subject."""
    pixels: Learning = Learning(train_steps=1500, batch=32, channels=(16, 32, 64), drop_condition=0.0)
    """Of the diffusion model of pixels, likewise."""
    sampling_steps: Count = 30
    """DDIM steps."""
    samples: Annotated[int, msgspec.Meta(ge=8, le=100_000, multiple_of=2)] = 640
    """Samples of each diffusion model, as many of each subject."""
    together: Count = 128
    """Pictures that are encoded, decoded or drawn in one call."""
    resamples: Several = 1000
    """Bootstrap resamples behind each interval."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """Of each subject (n, SIDE, SIDE, 3) float32 in [-1, 1]. Held-out patches of photographs do not overlap."""

    train: Mapping[str, np.ndarray]
    held_out: Mapping[str, np.ndarray]

    @property
    def training(self) -> np.ndarray:
        """All training pictures, subject after subject."""
        return np.concatenate([self.train[subject] for subject in SUBJECTS])

    @property
    def subjects(self) -> np.ndarray:
        """The number of the subject of each of `training`."""
        return np.concatenate(
            [np.full(len(self.train[subject]), number, np.int32) for number, subject in enumerate(SUBJECTS)]
        )


@functools.lru_cache(maxsize=1)
def load(count: int, held_out: int) -> Pictures:
    """So many pictures of each subject. ConfigError where there are fewer."""
    drawings, drawings_held_out = emoji_pictures.load(SIDE, count, held_out)
    patches, _ = textures.split(SIDE, stride=SIDE // 2)
    _, patches_held_out = textures.split(SIDE, stride=SIDE)
    return Pictures(
        train={"emoji": drawings, "textures": emoji_pictures.images("pictures", patches, count)},
        held_out={
            "emoji": drawings_held_out,
            "textures": emoji_pictures.images("held-out", patches_held_out, held_out),
        },
    )


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    pictures = len(SUBJECTS) * config.pictures
    for name in ("autoencoders", "decoders", "latents", "pixels"):
        image_training.check(getattr(config, name), f"{name}.", images=pictures)
    for option, values in (("factors", config.factors), ("latent-channels", config.latent_channels)):
        ranges.rising(option, values)
    ranges.among("factor", config.factor, "factors", config.factors)
    ranges.among("channels", config.channels, "latent-channels", config.latent_channels)
    image_coding.check("autoencoders", config.autoencoders, config.factors[-1])
    for name, side in (("latents", SIDE // config.factor), ("pixels", SIDE)):
        image_training.check_side(getattr(config, name), f"{name}.", side)


def autoencoder(config: Config, factor: int, channels: int) -> Autoencoder:
    """One of the experiment's."""
    return image_coding.network(config.autoencoders, factor, channels)


def name(factor: int, channels: int) -> str:
    """The folder of an autoencoder."""
    return f"f{factor}_c{channels}"


def restore(config: Config, folder: RunFolder, factor: int, channels: int, seed: int) -> Params:
    """The averaged parameters of an autoencoder."""
    inside = folder.inside(name(factor, channels))
    return image_coding.restore(config.autoencoders, autoencoder(config, factor, channels), inside, seed)


def restore_decoder(config: Config, folder: RunFolder, source: str, seed: int, params: Params) -> Params:
    """The parameters of the chosen autoencoder `params` with the decoder that trained on, EDGES or LONGER."""
    start = functools.partial(_start, params["decoder"])
    return {
        **params,
        "decoder": training_loop.restore_ema(start, folder.inside(source), seed=seed, decay=config.decoders.ema),
    }


def latent_model(config: Config) -> Model:
    """The diffusion model of the chosen autoencoder's latents."""
    side = SIDE // config.factor
    return _unet(config.latents, (side, side, config.channels))


def pixel_model(config: Config) -> Model:
    """The diffusion model of the pictures themselves."""
    return _unet(config.pixels, (SIDE, SIDE, 3))


def _unet(learning: image_training.Learning, shape: tuple[int, int, int]) -> Model:
    fields: dict[str, Any] = {"shape": shape, "num_classes": len(SUBJECTS), "levels": None}
    return image_training.unet(learning, schedules.flow(), parameterization.flow(), **fields)


def normalized(
    config: Config, params: Params, images: np.ndarray, progress: Progress
) -> tuple[image_coding.Coder, np.ndarray]:
    """The chosen autoencoder with normalised latents, and those of the training pictures."""
    chosen = autoencoder(config, config.factor, config.channels)
    return image_coding.normalized(chosen, params, images, config.together, progress)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Autoencoders first; then for each seed the decoders that train on, and the diffusion models of latents and of
    pixels.
    """
    pictures = load(config.pictures, config.held_out)
    clean, subjects = pictures.training, pictures.subjects
    weights = {"kl_weight": KL_WEIGHT, "perceptual_weight": config.perceptual_weight}
    for factor, channels, seeds in autoencoders(config):
        progress.line(f"autoencoder: factor {factor}, {channels} channels")
        network, inside = autoencoder(config, factor, channels), folder.inside(name(factor, channels))
        for seed in seeds:
            image_coding.train(config.autoencoders, network, clean, inside, progress, seed=seed, **weights)
    for seed in config.seeds:
        params = restore(config, folder, config.factor, config.channels, seed)
        coder, latents = normalized(config, params, clean, progress)
        loss, start = decoding(coder.network), functools.partial(_start, params["decoder"])
        for part, weight in ((EDGES, 1.0), (LONGER, 0.0)):
            progress.line(f"seed {seed}: {part}")
            data = Batch(clean=clean, condition=(latents, np.full(len(clean), weight, np.float32)))
            image_coding.fit(config.decoders, loss, start, data, seed, folder.inside(part), progress)
        for part, learning, model, values in (
            (LATENTS, config.latents, latent_model(config), latents),
            (PIXELS, config.pixels, pixel_model(config), clean),
        ):
            progress.line(f"seed {seed}: diffusion of {part}")
            data = Batch(clean=np.asarray(values), condition=(subjects,))
            image_training.train(learning, model, data, folder.inside(part), progress, seeds=(seed,))


def autoencoders(config: Config) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """(factor, channels, seeds) of each."""
    for factor in config.factors:
        for channels in config.latent_channels:
            chosen = (factor, channels) == (config.factor, config.channels)
            yield factor, channels, config.seeds if chosen else config.seeds[:1]


def decoding(network: LatentAutoencoder) -> Loss:
    """What the decoder alone trains on with."""
    decode = networks.pure(network, "decode")

    def of_decoder(decoder: Params, latents: Any) -> Any:
        return decode({"decoder": decoder}, latents)

    return edges.loss(of_decoder)


def _start(params: Params, key: Any) -> Params:
    return params
