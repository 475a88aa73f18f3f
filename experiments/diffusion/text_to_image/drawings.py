"""Every set of drawings that the networks draw, and what is measured of them."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.diffusion import captioned_emoji, encoded_captions, sweeps
from experiments.diffusion.captioned_emoji import GALLERY, Pictures
from experiments.diffusion.encoded_captions import Encoded
from experiments.diffusion.sweeps import Rows, Sweep
from experiments.diffusion.text_to_image import ordinary, sets, train
from gendiff.commands.images import image_features
from gendiff.commands.images.emoji_pictures import at_equal_distances
from gendiff.commands.images.image_coding import Coder
from gendiff.commands.text_to_image import networks
from gendiff.commands.text_to_image.config import Config, Drawings
from gendiff.core.types import Params
from gendiff.metrics import saturation
from gendiff.provenance import memorisation
from gendiff.provenance.memorisation import MemorisationReport
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured

SEED = 0
"""Of the candidates."""
SQUARE = 4
"""Side of the squares of pixels whose means are compared."""
CHOOSING, SEEN, UNSEEN = "training captions that choose the scale", "training captions", "held-out captions"
SETS = (CHOOSING, SEEN, UNSEEN)
COMBINATIONS, UNTRAINED, DECODED = (
    'emoji, combinations such as "a red cat"',
    "emoji, not trained",
    "emoji, decoded drawings",
)
MEAN, ONE_STEP = "emoji, the mean drawing", "emoji, in one step"


class DrawingDraws:
    """Decoded pictures of captions, and how they are judged."""

    def __init__(self, config: Config, folder: RunFolder, progress: Progress) -> None:
        self.config, self._progress = config, progress
        self._autoencoder, normalisation = train.restore_autoencoder(config, folder)
        network = networks.autoencoder(config.drawings, normalisation)
        self._coder, self.model = (
            Coder(network, config.drawings.together, progress),
            networks.model(config, networks.EMOJI),
        )
        negative, together = networks.negative(config, networks.EMOJI), config.drawings.together
        self._draw = train.draws(self.model, _encoded, config.sampling_steps, together, progress, negative)

    def __call__(
        self, title: str, params: Params, captions: Sequence[str], scale: float, steps: int | None = None
    ) -> np.ndarray:
        """(n, h, w, 3) pictures in [-1, 1]."""
        return self._coder.decode(self._autoencoder, self._draw(title, params, captions, scale, steps))

    def decoded(self, images: np.ndarray) -> np.ndarray:
        """What the autoencoder makes of images."""
        return self._coder.decode(self._autoencoder, self._coder.encode(self._autoencoder, images)[0])


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """From the checkpoints of the folder."""
    numbers, (training, held_out) = config.drawings, captioned_emoji.load(config.drawings)
    judged, first = [side.of_style(numbers.styles[0]) for side in (training, held_out)], numbers.seeds[0]
    requested = dict(zip(SETS, chosen(judged[0], judged[1], numbers.prompts), strict=True))
    with progress.phase("sample drawings"):
        draws, swept, pictures = DrawingDraws(config, folder, progress), {}, {}
        trained = {seed: train.restore(config, folder, networks.EMOJI, seed) for seed in numbers.seeds}
        for name, pictures_of_set in requested.items():
            swept[name], pictures[name] = _swept(draws, name, trained, pictures_of_set)
        best, captions = best_index(swept), requested[SEEN].captions
        scale, fresh = numbers.scales[best], draws.model.init(jax.random.key(first))
        controls = {
            UNTRAINED: draws("untrained", fresh, captions, scale),
            DECODED: draws.decoded(requested[SEEN].images),
            MEAN: np.broadcast_to(judged[0].images.mean(axis=0), requested[SEEN].images.shape),
            ONE_STEP: draws("one step", trained[first], captions, scale, 1),
        }
        texts = [prompt.text for prompt in ordinary.prompts(numbers) for _ in range(numbers.ordinary_repeats)]
        ordinary_pictures = {
            seed: draws(f"ordinary prompts, seed {seed}", params, texts, scale) for seed, params in trained.items()
        }
        with_word, without, words = captioned_emoji.combinations((*training.captions, *held_out.captions))
        pairs = [
            np.stack([draws(f"combinations, seed {seed}", params, prompts, scale) for prompts in (without, with_word)])
            for seed, params in trained.items()
        ]
        explored = [
            [draws(f"{n} steps", trained[first], GALLERY, w, n) for n in config.explored_steps] for w in numbers.scales
        ]
    rows = {name: measured(images, requested[SEEN], numbers) for name, images in controls.items()}
    gains = [captioned_emoji.coloured(pair[1], words) - captioned_emoji.coloured(pair[0], words) for pair in pairs]
    arrays = {
        "asked": requested,
        "shown": {name: images[:, shown_rows(images.shape[1], config.shown)] for name, images in pictures.items()},
        "unseen": pictures[UNSEEN][best],
        "training": training,
        "combinations": (with_word, pairs[0]),
        "explored": np.array(explored),
        "steps": config.explored_steps,
    }
    copies = memorisation.memorisation_report(pictures[UNSEEN][best], training.images, held_out.images)
    with progress.phase("judge"):
        yield from judge(numbers, swept, rows, gains, copies, arrays)
        both = ordinary.judges(numbers, training, likeness(numbers.features), squares)
        yield from ordinary.measure(numbers, both, ordinary_pictures, scale)


def best_index(swept: Mapping[str, Sweep]) -> int:
    """Of the scale that is judged, which other training captions choose than those that are judged."""
    return int(np.argmax(swept[CHOOSING].means()["retrieved"]))


def judge(
    config: Drawings,
    swept: Mapping[str, Sweep],
    controls: Mapping[str, Rows],
    gains: Sequence[np.ndarray],
    copies: MemorisationReport,
    arrays: Mapping[str, Any],
) -> Iterator[Measured]:
    """At the scale that is judged, and at every scale.

    swept: measures of the three sets. gains: by seed the share of the asked colour in pictures of combinations, less
    that in pictures without the word. copies: of pictures of held-out captions, of the first seed. arrays: for figures,
    beside all of this.
    """
    best, arrays = best_index(swept), {**arrays, "swept": swept, "copies": copies}
    numbers: dict[str, CellValue]
    for number, (seed, gain) in enumerate(zip(config.seeds, gains, strict=True)):
        for name in (SEEN, UNSEEN):
            rows = {measure: tables[number][best] for measure, tables in swept[name].tables.items()}
            copied = {"copies": copies.excess.number} if name == UNSEEN and number == 0 and copies.excess else {}
            numbers = {"w": config.scales[best], **shares(rows), **copied}
            yield Measured(f"emoji, {name}", numbers, seed, len(rows["retrieved"]), "emoji", arrays)
        yield Measured(COMBINATIONS, {"follows": intervals.interval(np.mean, gain)}, seed, len(gain), "emoji")
    for name, scores in controls.items():
        yield Measured(
            name, shares(scores), config.seeds[0] if name == ONE_STEP else None, len(scores["retrieved"]), "emoji"
        )
    for name, sweep in swept.items():
        for number, scale in enumerate(sweep.scales):
            yield Measured(name, {"w": scale, **sets.means(sweep, number)}, None, config.prompts, "emoji scales")


def shares(rows: Rows) -> dict[str, Number]:
    """The share that is retrieved, with an exact interval, and the means of the rest."""
    rest = {measure: intervals.interval(np.mean, rows[measure]) for measure in ("clipped", "contrast")}
    return {"own": intervals.share(rows["retrieved"] > 0), **rest}


def chosen(training: Pictures, held_out: Pictures, count: int) -> tuple[Pictures, Pictures, Pictures]:
    """The drawings of the three sets, at equal distances and none in two of them; fewer where there are not so many."""
    half = min(count, len(training) // 2)
    rows = at_equal_distances(len(training), 2 * half)
    return training.rows(rows[::2]), training.rows(rows[1::2]), held_out.rows(shown_rows(len(held_out), count))


def shown_rows(count: int, most: int) -> np.ndarray:
    """Which of a set of pictures are shown."""
    return at_equal_distances(count, min(count, most))


def measured(images: np.ndarray, prompts: Pictures, config: Drawings) -> Rows:
    """Of each picture whether it is most like its own drawing, among the candidates, and how far it runs to the ends of
    the range.
    """
    return {
        "retrieved": retrieved(images, prompts.images, config.candidates, likeness(config.features)),
        "clipped": saturation.clipped_fraction(images),
        "contrast": saturation.rms_contrast(images),
    }


def retrieved(images: np.ndarray, drawings: np.ndarray, candidates: int, features: ordinary.Features) -> np.ndarray:
    """(n,) 1 where picture i is more like drawing i than like each of `candidates` - 1 other drawings, which are drawn
    for each i.

    Likeness is the cosine of two pictures' features less the mean of the drawings'.
    """
    true, of_images = features(drawings), features(images)
    mean = true.mean(axis=0)
    likeness, rng, count = (
        ordinary.unit(of_images - mean) @ ordinary.unit(true - mean).T,
        np.random.default_rng(SEED),
        len(drawings),
    )
    hits = []
    for row in range(count):
        others = rng.permutation(np.delete(np.arange(count), row))[: candidates - 1]
        hits.append(float(likeness[row, row] > likeness[row, others].max()))
    return np.array(hits)


def likeness(features: str) -> ordinary.Features:
    """The function of a name. ConfigError without the classifier's weights."""
    if features == "squares":
        return squares
    return functools.partial(image_features.of_drawn, image_features.classifier())


def squares(images: np.ndarray) -> np.ndarray:
    """(n, d) means of squares of SQUARE pixels: fading and small shifts change little, and so does a blur."""
    count, height, width, channels = images.shape
    parted = images.reshape(count, height // SQUARE, SQUARE, width // SQUARE, SQUARE, channels)
    return parted.mean(axis=(2, 4)).reshape(count, -1)


def _swept(draws: DrawingDraws, name: str, trained: dict[int, Params], prompts: Pictures) -> tuple[Sweep, np.ndarray]:
    """The measures of all seeds, and the pictures (scales, n, h, w, 3) of the first one."""
    scales, rows = draws.config.drawings.scales, []
    first_samples: list[np.ndarray] = []
    for seed, params in trained.items():
        sets = [draws(f"{name}, seed {seed}", params, prompts.captions, scale) for scale in scales]
        rows.append([measured(images, prompts, draws.config.drawings) for images in sets])
        first_samples = first_samples or sets
    return sweeps.sweep(scales, rows), np.stack(first_samples)


@functools.lru_cache(maxsize=16)
def _encoded(captions: tuple[str, ...]) -> Encoded:
    return encoded_captions.frozen(captions, Progress(quiet=True))
