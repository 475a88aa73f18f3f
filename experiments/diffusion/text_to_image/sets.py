"""Every set of pictures of scenes, drawn and read, and what is measured of them."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.diffusion import scenes, sweeps
from experiments.diffusion.encoded_captions import Encoded
from experiments.diffusion.scenes import Prompts
from experiments.diffusion.sweeps import Rows, Sweep
from experiments.diffusion.text_to_image import failures, ordinary, train
from experiments.tasks import rendering, shapes_oracle
from gendiff.commands.images import image_coding, image_training
from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config, Drawings
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.metrics import features, saturation, vendi
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals, trends
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured

FROZEN, HELD_OUT, SEEN = "frozen MiniLM", "frozen MiniLM, held out", "frozen MiniLM, seen"
SCRATCH, SCRATCH_SEEN = "from scratch, held out", "from scratch, seen"
SHUFFLED, UNTRAINED = "shuffled captions", "not trained"
RISING, DIVERSITY = "shown exactly, held out", "Vendi score of one prompt"
CLIPPED, CONTRAST = "clipped fraction", "RMS contrast"
"""Measures whose trend with the guidance scale is judged."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other, and where the text encoder is not
    installed.
    """
    image_training.check(config.shapes, "shapes.", images=config.scenes)
    ranges.rising("scales", config.scales)
    if len(config.scales) < 2:
        raise ConfigError(f"--scales {ranges.as_typed(config.scales)}: a trend needs two of them")
    ranges.at_most("repeated", config.repeated, "prompts", config.prompts)
    ranges.at_most("shown", config.shown, "prompts", config.prompts)
    for steps in config.explored_steps:
        ranges.at_most("explored-steps", steps, "sampling-steps", config.sampling_steps)
    _check_drawings(config.drawings, config.shown)
    texts.check()


def _check_drawings(config: Drawings, count: int) -> None:
    within = "drawings."
    image_training.check(config.autoencoder, f"{within}autoencoder.", images=config.pictures)
    image_training.check(config.latents, f"{within}latents.", images=2 * config.pictures)
    image_coding.check(f"{within}autoencoder", config.autoencoder, networks.FACTOR)
    ranges.rising(f"{within}scales", config.scales)
    ranges.at_most(f"{within}candidates", config.candidates, f"{within}prompts", config.prompts)
    ranges.at_most(f"{within}prompts", config.prompts, f"{within}held-out", config.held_out)
    ranges.at_most(f"{within}prompts", config.prompts, f"half of {within}pictures", config.pictures // 2)
    ranges.at_most("shown", count, f"{within}prompts", config.prompts)
    ordinary.check(config)


@dataclass(frozen=True)
class Answers:
    """What networks drew for one set of prompts. readings: of each seed what the oracle reads, (scales, n, 3,
    4); sweep: all measures.
    """

    prompts: Prompts
    readings: tuple[np.ndarray, ...]
    sweep: Sweep

    @property
    def best(self) -> int:
        """The place of the first scale of the largest accuracy, a mean over the seeds."""
        return int(np.argmax(self.sweep.means()["accuracy"]))


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """From the checkpoints of the folder."""
    unseen, seen_prompts = (scenes.prompts(config.prompts, held_out=held_out) for held_out in (True, False))
    first, strong = config.seeds[:1], config.scales[1:]

    def restored(name: str, seeds: Sequence[int] = first) -> dict[int, Params]:
        return {seed: train.restore(config, folder, name, seed) for seed in seeds}

    with progress.phase("sample"):
        draws = SceneDraws(config, networks.FROZEN, progress)
        frozen = restored(networks.FROZEN, config.seeds)
        held_out, panels = draws.answers("held out", frozen, unseen)
        results = {HELD_OUT: held_out, SEEN: draws.answers("seen", frozen, seen_prompts)[0]}
        diversity = draws.diversity(frozen, unseen.repeated(config.repeated, config.repeats))
        few = unseen.repeated(config.shown, 1)
        explored = [
            [draws(f"{steps} steps", frozen[first[0]], few, scale, steps) for steps in config.explored_steps]
            for scale in config.scales
        ]
        shuffled = draws.answers("shuffled captions", restored(networks.SHUFFLED), unseen, strong)[0]
        raw = {first[0]: networks.model(config).init(jax.random.key(first[0]))}
        untrained = draws.answers("untrained", raw, unseen, strong[:1])[0]
    with progress.phase("sample scratch"):
        draws, scratch = SceneDraws(config, networks.SCRATCH, progress), restored(networks.SCRATCH)
        for name, prompts in ((SCRATCH, unseen), (SCRATCH_SEEN, seen_prompts)):
            results[name] = draws.answers(name, scratch, prompts)[0]
    arrays = {"shown": panels, "explored": np.array(explored), "steps": config.explored_steps}
    with progress.phase("judge"):
        yield from judge(config, results | {SHUFFLED: shuffled, UNTRAINED: untrained}, diversity, arrays)


def judge(
    config: Config, results: Mapping[str, Answers], diversity: Sweep, arrays: Mapping[str, Any]
) -> Iterator[Measured]:
    """Accuracy at the scale that seen prompts choose, so that held-out ones do not; trends over all seeds; and every
    scale.

    diversity: Vendi scores of repeated prompts. arrays: for figures, beside all that was read.
    """
    best, swept, count = results[SEEN].best, results[HELD_OUT].sweep, len(results[HELD_OUT].prompts)
    arrays = {**arrays, "of": results, "diversity": diversity}
    for seed, table in zip(config.seeds, swept.tables["accuracy"], strict=True):
        numbers: dict[str, CellValue] = {"w": swept.scales[best], "exact": intervals.share(table[best] > 0)}
        yield Measured(HELD_OUT, numbers, seed, count, "judged", arrays)
    for name in (SHUFFLED, UNTRAINED):
        at, sweep = results[name].best, results[name].sweep
        numbers = {"w": sweep.scales[at], "exact": intervals.share(sweep.tables["accuracy"][0][at] > 0)}
        yield Measured(name, numbers, None, count, "judged")
    best_seen = int(np.argmax(results[SEEN].sweep.seed(0).means()["accuracy"]))
    pair = (
        swept.tables["accuracy"][0][best_seen],
        results[SCRATCH].sweep.tables["accuracy"][0][results[SCRATCH_SEEN].best],
    )
    yield Measured(
        FROZEN, {"gain": intervals.interval(intervals.difference_of_means, *pair, paired=True)}, None, count, "judged"
    )
    for name, measure, of_scales, sign, each in (
        (RISING, "accuracy", swept, 1, count),
        (DIVERSITY, "vendi", diversity, -1, config.repeated * config.repeats),
        (CLIPPED, "clipped", swept, 1, count),
        (CONTRAST, "contrast", swept, 1, count),
    ):
        options = {"sign": sign, "resamples": config.resamples, "permutations": config.permutations}
        rho = trends.measure(of_scales.scales, of_scales.tables[measure], **options).rho
        yield Measured(name, {"rho": rho}, None, each * len(config.seeds), "trends")
    for name, answers in results.items():
        for index, scale in enumerate(answers.sweep.scales):
            yield Measured(name, {"w": scale, **means(answers.sweep, index)}, None, count, "scales")
    for index, scale in enumerate(diversity.scales):
        yield Measured(HELD_OUT, {"w": scale, **means(diversity, index)}, None, config.repeated, "diversity")
    for name, answers in results.items():
        index = answers.best if name in (SHUFFLED, UNTRAINED) else best
        kinds = [failures.kinds(readings[index], answers.prompts.attributes) for readings in answers.readings]
        shares = {kind: float(np.mean([of_seed[kind].mean() for of_seed in kinds])) for kind in failures.KINDS}
        yield Measured(name, {"w": answers.sweep.scales[index], **shares}, None, count, "missed")


def means(sweep: Sweep, index: int) -> dict[str, Number]:
    """Of each measure over the seeds, with the interval of a bootstrap of rows, which are the same prompts for every
    seed.
    """
    return {
        name: intervals.interval(np.mean, np.mean([table[index] for table in tables], axis=0))
        for name, tables in sweep.tables.items()
    }


class SceneDraws:
    """Pictures of scenes, of the networks of one folder, and what the oracle reads from them."""

    def __init__(self, config: Config, name: str, progress: Progress) -> None:
        self._config = config
        read = functools.partial(_encoded, name)
        self._draw = train.draws(networks.model(config, name), read, config.sampling_steps, config.together, progress)

    def __call__(
        self, title: str, params: Params, prompts: Prompts, scale: float, steps: int | None = None
    ) -> np.ndarray:
        """(n, h, w, 3) pictures, not clipped."""
        return self._draw(title, params, prompts.captions, scale, steps)

    def answers(
        self, title: str, params: dict[int, Params], prompts: Prompts, scales: Sequence[float] = ()
    ) -> tuple[Answers, np.ndarray]:
        """Of the networks of several seeds, and the first pictures (scales, n, h, w, c) of the first one."""
        scales, readings, rows, panels = scales or self._config.scales, [], [], []
        for seed, of_seed in params.items():
            sets = [self(f"{title}, seed {seed}", of_seed, prompts, scale) for scale in scales]
            read = np.stack([shapes_oracle.read(images) for images in sets])
            readings.append(read)
            rows.append([measured(images, each, prompts) for images, each in zip(sets, read, strict=True)])
            panels.append(np.stack([images[: self._config.shown] for images in sets]))
        return Answers(prompts, tuple(readings), sweeps.sweep(scales, rows)), panels[0]

    def diversity(self, params: dict[int, Params], prompts: Prompts) -> Sweep:
        """The Vendi score of each repeated prompt."""
        rows = [
            [
                distinct(self(f"diversity, seed {seed}", of_seed, prompts, scale), self._config.repeats)
                for scale in self._config.scales
            ]
            for seed, of_seed in params.items()
        ]
        return sweeps.sweep(self._config.scales, rows)


def measured(images: np.ndarray, readings: np.ndarray, prompts: Prompts) -> Rows:
    """Of each picture whether it shows exactly what was asked for, and how far it runs to the ends of the range;
    renders stay in ±0.8.
    """
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
