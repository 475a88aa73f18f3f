"""Every set of pictures of the text-to-image experiment, drawn and read: what the claims, tables and figures are made of."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from experiments.diffusion import scenes, sweeps
from experiments.diffusion.encoded_captions import Encoded
from experiments.diffusion.scenes import Prompts
from experiments.diffusion.sweeps import Rows, Sweep
from experiments.diffusion.text_to_image import train
from experiments.diffusion.text_to_image.draws import CaptionDraws
from gendiff.commands.images import image_coding, image_training
from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config, Drawings
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.data import rendering, shapes_oracle
from gendiff.metrics import features, saturation, vendi
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other, and where the text encoder is not installed."""
    image_training.check(config.shapes, "shapes.", images=config.scenes)
    ranges.rising("scales", config.scales)
    if len(config.scales) < 2:
        raise ConfigError(f"--scales {ranges.shown(config.scales)}: a trend needs two of them")
    ranges.at_most("repeated", config.repeated, "prompts", config.prompts)
    ranges.at_most("shown", config.shown, "prompts", config.prompts)
    for steps in config.explored_steps:
        ranges.at_most("explored-steps", steps, "sampling-steps", config.sampling_steps)
    _check_drawings(config.drawings, config.shown)
    texts.check()


def _check_drawings(config: Drawings, shown: int) -> None:
    within = "drawings."
    image_training.check(config.autoencoder, f"{within}autoencoder.", images=config.pictures)
    image_training.check(config.latents, f"{within}latents.", images=2 * config.pictures)
    image_coding.check(f"{within}autoencoder", config.autoencoder, networks.FACTOR)
    ranges.rising(f"{within}scales", config.scales)
    ranges.at_most(f"{within}candidates", config.candidates, f"{within}prompts", config.prompts)
    ranges.at_most(f"{within}prompts", config.prompts, f"{within}held-out", config.held_out)
    ranges.at_most(f"{within}prompts", config.prompts, f"half of {within}pictures", config.pictures // 2)
    ranges.at_most("shown", shown, f"{within}prompts", config.prompts)


@dataclass(frozen=True)
class Answers:
    """What networks drew for one set of prompts. readings: of each seed what the oracle reads, (scales, n, 3, 4); sweep: all measures."""

    prompts: Prompts
    readings: tuple[np.ndarray, ...]
    sweep: Sweep

    @property
    def best(self) -> int:
        """The place of the first scale of the largest accuracy, a mean over the seeds."""
        return int(np.argmax(self.sweep.means()["accuracy"]))


@dataclass(frozen=True)
class DrawnSets:
    """held_out, seen: of the networks with the frozen encoder. scratch_held_out, scratch_seen: of the one with its own. shuffled,
    untrained: controls, of held-out prompts. diversity: Vendi scores of repeated prompts. shown: (scales, n, h, w, c) of the first seed.
    explored: (scales, steps, n, h, w, c).
    """

    held_out: Answers
    seen: Answers
    scratch_held_out: Answers
    scratch_seen: Answers
    shuffled: Answers
    untrained: Answers
    diversity: Sweep
    shown: np.ndarray
    explored: np.ndarray


def draw(config: Config, folder: RunFolder, progress: Progress) -> DrawnSets:
    """From the checkpoints of the folder."""
    unseen, seen = (scenes.prompts(config.prompts, held_out=held_out) for held_out in (True, False))
    first = config.seeds[:1]

    def restored(name: str, seeds: Sequence[int]) -> dict[int, Params]:
        return {seed: train.restore(config, folder, name, seed) for seed in seeds}

    with progress.phase("sample"):
        draws = SceneDraws(config, networks.FROZEN, progress)
        frozen = restored(networks.FROZEN, config.seeds)
        held_out, shown = draws.answers("held out", frozen, unseen)
        of_seen, _ = draws.answers("seen", frozen, seen)
        diversity = draws.diversity(frozen, unseen.repeated(config.repeated, config.repeats))
        explored = draws.explored(frozen[first[0]], unseen)
        strong = config.scales[1:]
        shuffled, _ = draws.answers("shuffled captions", restored(networks.SHUFFLED, first), unseen, strong)
        raw = {first[0]: networks.model(config).init(jax.random.key(first[0]))}
        untrained, _ = draws.answers("untrained", raw, unseen, strong[:1])
    with progress.phase("sample scratch"):
        draws = SceneDraws(config, networks.SCRATCH, progress)
        scratch = restored(networks.SCRATCH, first)
        scratch_held_out, _ = draws.answers("scratch, held out", scratch, unseen)
        scratch_seen, _ = draws.answers("scratch, seen", scratch, seen)
    return DrawnSets(held_out, of_seen, scratch_held_out, scratch_seen, shuffled, untrained, diversity, shown, explored)


class SceneDraws:
    """Pictures of scenes, of the networks of one folder, and what the oracle reads from them."""

    def __init__(self, config: Config, name: str, progress: Progress) -> None:
        self._config = config
        self._draw = CaptionDraws(
            networks.model(config, name), functools.partial(_encoded, name), config.sampling_steps, config.together, progress
        )

    def __call__(self, title: str, params: Params, prompts: Prompts, scale: float, steps: int | None = None) -> np.ndarray:
        """(n, h, w, 3) pictures, not clipped."""
        return self._draw(title, params, prompts.captions, scale, steps)

    def answers(self, title: str, params: dict[int, Params], prompts: Prompts, scales: Sequence[float] = ()) -> tuple[Answers, np.ndarray]:
        """Of the networks of several seeds, and the first pictures (scales, n, h, w, c) of the first one."""
        scales, readings, rows, shown = scales or self._config.scales, [], [], []
        for seed, of_seed in params.items():
            sets = [self(f"{title}, seed {seed}", of_seed, prompts, scale) for scale in scales]
            read = np.stack([shapes_oracle.read(images) for images in sets])
            readings.append(read)
            rows.append([measured(images, each, prompts) for images, each in zip(sets, read, strict=True)])
            shown.append(np.stack([images[: self._config.shown] for images in sets]))
        return Answers(prompts, tuple(readings), sweeps.sweep(scales, rows)), shown[0]

    def diversity(self, params: dict[int, Params], prompts: Prompts) -> Sweep:
        """The Vendi score of each repeated prompt."""
        rows = [
            [distinct(self(f"diversity, seed {seed}", of_seed, prompts, scale), self._config.repeats) for scale in self._config.scales]
            for seed, of_seed in params.items()
        ]
        return sweeps.sweep(self._config.scales, rows)

    def explored(self, params: Params, prompts: Prompts) -> np.ndarray:
        """(scales, steps, n, h, w, c)."""
        few, config = prompts.repeated(self._config.shown, 1), self._config
        return np.stack(
            [np.stack([self(f"{steps} steps", params, few, scale, steps) for steps in config.explored_steps]) for scale in config.scales]
        )


def measured(images: np.ndarray, readings: np.ndarray, prompts: Prompts) -> Rows:
    """Of each picture whether it shows exactly what was asked for, and how far it runs to the ends of the range; renders stay in ±0.8."""
    return {
        "accuracy": np.all(readings == prompts.attributes, axis=(1, 2)).astype(np.float64),
        "clipped": saturation.clipped_fraction(images),
        "contrast": saturation.rms_contrast(images),
    }


def distinct(images: np.ndarray, times: int) -> Rows:
    """The Vendi score of each run of `times` pictures, less the background that all pictures share."""
    pixels = features.pixels(np.clip(images, -1.0, 1.0) - rendering.BACKGROUND)
    return {"vendi": np.array([vendi.score(group) for group in pixels.reshape(-1, times, pixels.shape[-1])])}


@functools.lru_cache(maxsize=8)
def _encoded(name: str, captions: tuple[str, ...]) -> Encoded:
    return train.encoded(name, captions, Progress(quiet=True))
