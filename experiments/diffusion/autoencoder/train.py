"""The trainings of the autoencoder experiment; each goes on where it was, and later ones stand on what earlier ones left."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.diffusion.autoencoder import edges, networks, pictures
from experiments.diffusion.autoencoder.config import Config
from gendiff import networks as gendiff_networks
from gendiff.commands.images import image_coding, image_training
from gendiff.core.types import Loss, Params
from gendiff.diffusion.types import Batch
from gendiff.networks.autoencoder import LatentAutoencoder
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Autoencoders first; then for each seed the decoders that train on, and the diffusion models of latents and of pixels."""
    given = pictures.load(config)
    clean, subjects = given.training, given.subjects
    for factor, channels, seeds in autoencoders(config):
        progress.line(f"autoencoder: factor {factor}, {channels} channels")
        network, place = networks.autoencoder(config, factor, channels), folder.inside(networks.name(factor, channels))
        for seed in seeds:
            image_coding.train(config.autoencoders, network, clean, place, progress, seed=seed, kl_weight=config.kl_weight)
    for seed in config.seeds:
        params = networks.restore(config, folder, config.factor, config.channels, seed)
        coder, latents = networks.normalized(config, params, clean, progress)
        loss, start = decoding(config, coder.network), functools.partial(_given, params["decoder"])
        for name, weight in ((networks.EDGES, 1.0), (networks.LONGER, 0.0)):
            progress.line(f"seed {seed}: {name}")
            data = Batch(clean=clean, condition=(latents, np.full(len(clean), weight, np.float32)))
            image_coding.fit(config.decoders, loss, start, data, seed, folder.inside(name), progress)
        for name, learning, model, values in (
            (networks.LATENTS, config.latents, networks.latent_model(config), latents),
            (networks.PIXELS, config.pixels, networks.pixel_model(config), clean),
        ):
            progress.line(f"seed {seed}: diffusion of {name}")
            data = Batch(clean=np.asarray(values), condition=(subjects,))
            image_training.train(learning, model, data, folder.inside(name), progress, seeds=(seed,))


def autoencoders(config: Config) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """(factor, channels, seeds) of each."""
    for factor in config.factors:
        for channels in config.latent_channels:
            chosen = (factor, channels) == (config.factor, config.channels)
            yield factor, channels, config.seeds if chosen else config.seeds[:1]


def decoding(config: Config, network: LatentAutoencoder) -> Loss:
    """What the decoder alone trains on with."""
    decode = gendiff_networks.pure(network, "decode")

    def of_decoder(decoder: Params, latents: Any) -> Any:
        return decode({"decoder": decoder}, latents)

    return edges.loss(of_decoder, gradient=config.gradient_weight, amplitude=config.amplitude_weight, cutoff=config.cutoff)


def _given(params: Params, key: Any) -> Params:
    return params
