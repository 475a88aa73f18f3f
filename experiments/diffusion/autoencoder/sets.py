"""Every set of pictures of the autoencoder experiment, made from the checkpoints and measured: what claims, figures and tables are of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.autoencoder import measures, networks, train
from experiments.diffusion.autoencoder.config import Config
from experiments.diffusion.autoencoder.measures import Measure
from experiments.diffusion.autoencoder.pictures import SUBJECTS, Pictures
from experiments.diffusion.image_draws import Draws
from gendiff.commands.images import emoji_pictures, image_coding, image_training
from gendiff.core.types import Params
from gendiff.metrics import fidelity, spectrum
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

ORIGINALS, DECODED, LONGER, EDGES = "originals", "decoded", "decoder trained longer", "decoder trained on edges"
SAMPLES, SAMPLES_EDGES, PIXELS = "samples of latents", "the same, decoder trained on edges", "samples of pixels"
CODED, DRAWN = (DECODED, LONGER, EDGES), (SAMPLES, SAMPLES_EDGES, PIXELS)
"""What comes of pictures, and what of noise."""


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Of held-out pictures of one subject, each (n,). nats: of the divergence; None where nothing has one."""

    psnr: np.ndarray
    ssim: np.ndarray
    nats: np.ndarray | None = None


Grid = Mapping[tuple[int, int], Mapping[str, Fidelity]]
"""By (factor, channels), then by subject."""


@dataclass(frozen=True, eq=False)
class Softness:
    """Of one seed and subject, by kind of pictures.

    training: energies of training pictures and of what comes of them, and of samples, each (n,). held_out: likewise, without samples.
    power: the mean spectra (rings,) of `training`, and `frequency` of the rings. psnr: of held-out pictures. shown: the first pictures.
    """

    training: Mapping[str, np.ndarray]
    held_out: Mapping[str, np.ndarray]
    power: Mapping[str, np.ndarray]
    frequency: np.ndarray
    psnr: Mapping[str, np.ndarray]
    shown: Mapping[str, np.ndarray]


def code(config: Config, folder: RunFolder, given: Pictures, progress: Progress) -> Grid:
    """Every autoencoder of the first seed on the held-out pictures."""
    grid = {}
    for factor, channels, seeds in train.autoencoders(config):
        params = networks.restore(config, folder, factor, channels, seeds[0])
        coder = image_coding.Coder(networks.autoencoder(config, factor, channels), config.together, progress)
        of: dict[str, Fidelity] = {}
        for subject, images in given.held_out.items():
            latents, nats = coder.encode(params, images)
            of[subject] = compared(coder.decode(params, latents), images, nats)
        grid[factor, channels] = of
    return grid


def rivals(config: Config, given: Pictures) -> Grid:
    """Without a network: the held-out pictures made smaller by each factor and larger again, of 3 numbers per place."""
    return {
        (factor, 3): {subject: compared(measures.smaller_and_larger(images, factor), images) for subject, images in given.held_out.items()}
        for factor in config.factors
    }


def compared(images: np.ndarray, originals: np.ndarray, nats: np.ndarray | None = None) -> Fidelity:
    """PSNR and SSIM of images against the originals."""
    return Fidelity(fidelity.psnr(images, originals), fidelity.ssim(images, originals), nats)


class Softnesses:
    """The chosen autoencoder, its decoders and the diffusion models; each of the latter is compiled once for all seeds."""

    def __init__(self, config: Config, folder: RunFolder, given: Pictures, progress: Progress) -> None:
        self._config, self._folder, self._given, self._progress = config, folder, given, progress
        models = {networks.LATENTS: networks.latent_model(config), networks.PIXELS: networks.pixel_model(config)}
        self._draws = {name: Draws(model, config.sampling_steps, config.together, progress) for name, model in models.items()}

    def of(self, seed: int) -> dict[str, Softness]:
        """By subject."""
        config, given = self._config, self._given
        params = networks.restore(config, self._folder, config.factor, config.channels, seed)
        with self._progress.phase("decode", seed=seed):
            coder, latents = networks.normalized(config, params, given.training, self._progress)
            decoders = {DECODED: params}
            for kind, name in ((LONGER, networks.LONGER), (EDGES, networks.EDGES)):
                decoders[kind] = networks.restore_decoder(config, self._folder, name, seed, params)
            decoded = {kind: coder.decode(of, latents) for kind, of in decoders.items()}
            held_out = {subject: self._held_out(coder, decoders, images) for subject, images in given.held_out.items()}
        with self._progress.phase("sample", seed=seed):
            drawn_latents = self._drawn(networks.LATENTS, seed)
            drawn = {SAMPLES: coder.decode(params, drawn_latents), SAMPLES_EDGES: coder.decode(decoders[EDGES], drawn_latents)}
            drawn[PIXELS] = np.clip(self._drawn(networks.PIXELS, seed), -1, 1)
        with self._progress.phase("measure", seed=seed):
            found = {}
            for number, subject in enumerate(SUBJECTS):
                training = {kind: images[given.subjects == number] for kind, images in decoded.items()}
                samples = {kind: images[number :: len(SUBJECTS)] for kind, images in drawn.items()}  # sample i shows subject i mod 2
                found[subject] = self._measured({ORIGINALS: given.train[subject], **training, **samples}, samples, held_out[subject])
        return found

    def _drawn(self, name: str, seed: int) -> np.ndarray:
        draw = self._draws[name]
        params = image_training.averaged(draw.model, self._folder.inside(name), seed)
        return draw(f"{name}, seed {seed}", params, self._config.samples)

    def _held_out(self, coder: image_coding.Coder, decoders: Mapping[str, Params], images: np.ndarray) -> dict[str, np.ndarray]:
        latents, _ = coder.encode(decoders[DECODED], images)  # training a decoder leaves the encoder as it is
        return {ORIGINALS: images} | {kind: coder.decode(of, latents) for kind, of in decoders.items()}

    def _measured(self, sets: Mapping[str, np.ndarray], samples: Mapping[str, np.ndarray], held_out: Mapping[str, np.ndarray]) -> Softness:
        measure, count = Measure(self._config.cutoff, self._config.resamples), self._config.shown
        spectra = {kind: spectrum.radial(images, window="hann") for kind, images in sets.items()}
        originals = held_out[ORIGINALS]
        return Softness(
            training={kind: of.above(measure.cutoff) for kind, of in spectra.items()},
            held_out={kind: measure.energy(images) for kind, images in held_out.items()},
            power={kind: of.power.mean(axis=0) for kind, of in spectra.items()},
            frequency=spectra[ORIGINALS].frequency,
            psnr={kind: fidelity.psnr(held_out[kind], originals) for kind in CODED},
            shown={kind: images[emoji_pictures.at_equal_distances(len(images), count)] for kind, images in {**held_out, **samples}.items()},
        )
