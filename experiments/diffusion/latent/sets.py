"""Every set of pictures of the latent study, from the checkpoints, and how long drawing takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.image_draws import Draws
from experiments.diffusion.latent import networks
from experiments.diffusion.latent.config import Config
from experiments.diffusion.latent.networks import LATENTS, MODELS, PIXELS, averages
from gendiff.commands.images import emoji_pictures, image_features
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.commands.images.image_coding import Coder
from gendiff.core.types import Params
from gendiff.metrics import fidelity, frechet, subsampling
from gendiff.runs import paired_timing, program_costs
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder

ORIGINALS, DECODED, DECODING = "originals", "decoded", "decoding"
MEAN = "mean picture"
"""Of the training pictures, pixel by pixel."""
SEED = 0
"""Of draws; training has its own seeds."""


@dataclass(frozen=True, eq=False)
class OfSeed:
    """What one seed gave. Distances to the held-out pictures are of draws, (draws,).

    curves: of each model the distances of its samples after each part of its training, (parts, draws). decoded: of
    reconstructions of training pictures, which a perfect model of latents would draw. psnr: (n,) of reconstructed
    held-out pictures. untrained: of samples of untrained networks, and of the MEAN; None beyond the first seed. shown:
    rows of pictures by what they are.
    """

    curves: Mapping[str, np.ndarray]
    decoded: np.ndarray
    psnr: np.ndarray
    untrained: Mapping[str, np.ndarray] | None
    shown: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Drawing:
    """What drawing costs. seconds: of a call of `together` pictures, by LATENTS, PIXELS and DECODING, by round. peak:
    bytes of a call.
    """

    seconds: Mapping[str, tuple[float, ...]]
    peak: Mapping[str, int]


class Judge:
    """Held-out pictures, and the Fréchet distance of any set of pictures to them. floor: that of training pictures."""

    def __init__(self, config: Config, training: np.ndarray, held_out: np.ndarray) -> None:
        self._config, self._features = config, image_features.function(FeatureOptions(config.features))
        self._held_out = self._rows(held_out)
        self.floor = self.distances(training)

    def distances(self, images: np.ndarray) -> np.ndarray:
        """(draws,) of so many of the images as there are samples, spread as their mean is uncertain."""
        chosen = images[emoji_pictures.at_equal_distances(len(images), min(len(images), self._config.samples))]
        size = min(self._config.draw_size, len(chosen) - 1)
        values = frechet.over_subsets(
            self._held_out, self._rows(chosen), count=self._config.draws, size=size, seed=SEED
        )
        return subsampling.jackknifed(values, rows=len(chosen), size=size)

    def in_floors(self, distances: np.ndarray) -> Number:
        """Their mean in units of the floor."""
        return self.ratio(distances, self.floor)

    def ratio(self, first: np.ndarray, second: np.ndarray) -> Number:
        """The mean of the first over that of the second."""
        return intervals.interval(intervals.ratio_of_means, first, second, resamples=self._config.resamples)

    def _rows(self, images: np.ndarray) -> np.ndarray:
        return image_features.of_drawn(self._features, images)


class Sampled:
    """Draws of both models and what becomes of them; each is compiled once for all seeds."""

    def __init__(
        self, config: Config, folder: RunFolder, images: tuple[np.ndarray, np.ndarray], judge: Judge, progress: Progress
    ) -> None:
        self._config, self._folder, self._judge, self._progress = config, folder, judge, progress
        self._training, self._held_out = images
        self._coders: dict[int, tuple[Coder, Params, np.ndarray]] = {}
        together = min(config.together, config.samples)
        self._draws = {
            name: Draws(networks.model(config, name), config.sampling_steps, together, progress) for name in MODELS
        }

    def one_seed(self, seed: int) -> OfSeed:
        """Everything of one seed; the first has the controls."""
        config, progress = self._config, self._progress
        with progress.phase("decode", seed=seed):
            coder, params, latents = self._coder(seed)
            decoded = coder.decode(params, latents[emoji_pictures.at_equal_distances(len(latents), config.samples)])
            unseen = coder.decode(params, coder.encode(params, self._held_out)[0])
        rows = emoji_pictures.at_equal_distances(len(unseen), config.shown)
        panels, curves, last = {ORIGINALS: self._held_out[rows], DECODED: unseen[rows]}, {}, {}
        for name in (PIXELS, LATENTS):
            with progress.phase(f"sample {name}", seed=seed):
                last[name] = (averages_by_part := averages(config, self._folder, name, seed).restore())[-1]
                samples = [
                    self._drawn(name, f"{name}, {part:g} of the time", each, coder, params)
                    for part, each in zip(config.fractions, averages_by_part, strict=True)
                ]
            panels |= {
                f"{name}, {part:g}": images[: config.shown]
                for part, images in zip(config.fractions, samples, strict=True)
            }
            curves[name] = np.stack([self._judge.distances(images) for images in samples])
        untrained = None
        if seed == config.seeds[0]:
            with progress.phase("controls"):
                fresh = {name: networks.untrained(config, self._folder, name, seed, last[name]) for name in MODELS}
                blank = {name: self._drawn(name, f"{name}, untrained", fresh[name], coder, params) for name in MODELS}
            blank[MEAN] = np.repeat(self._training.mean(axis=0, keepdims=True), config.samples, axis=0)
            untrained = {name: self._judge.distances(images) for name, images in blank.items()}
        return OfSeed(curves, self._judge.distances(decoded), fidelity.psnr(unseen, self._held_out), untrained, panels)

    def timed(self, seed: int) -> Drawing:
        """Calls of the trained networks in turn."""
        config = self._config
        coder, params, latents = self._coder(seed)
        trained = {name: averages(config, self._folder, name, seed).restore()[-1] for name in MODELS}
        works = {name: self._call(name, trained[name]) for name in MODELS}
        works[DECODING] = lambda: coder.decode(params, latents[: config.together])
        with self._progress.phase("time drawing"):
            seconds = paired_timing.timed(works, config.sampling_rounds)
        return Drawing(
            seconds, {name: program_costs.peak_bytes(self._draws[name].compiled(trained[name])) for name in MODELS}
        )

    def _coder(self, seed: int) -> tuple[Coder, Params, np.ndarray]:
        if seed not in self._coders:
            self._coders[seed] = networks.coder(self._config, self._folder, seed, self._training, self._progress)
        return self._coders[seed]

    def _call(self, name: str, params: Params) -> Callable[[], np.ndarray]:
        draws = self._draws[name]
        return lambda: draws("timed", params, draws.together)

    def _drawn(self, name: str, title: str, params: Params, coder: Coder, coding: Params) -> np.ndarray:
        samples = self._draws[name](title, params, self._config.samples)
        return coder.decode(coding, samples) if name == LATENTS else np.clip(samples, -1.0, 1.0)
