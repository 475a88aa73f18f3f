"""What is found in the pictures of one network: p-values with and without the mark, bits, and sets as a whole."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from experiments.provenance.watermark_image import changes
from experiments.provenance.watermark_image.config import Config
from experiments.provenance.watermark_image.programs import (
    RING,
    SHADING,
    SPREAD,
    WatermarkPrograms,
    key_of,
    marks,
    noise_of,
)
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.metrics import fidelity, frechet
from gendiff.provenance import image_detection, randomisation
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

LEVEL = 0.01
"""Of false alarms at which pictures count as found."""
PLAIN, ALIKE = "no mark", "one nonce"
_FRESH = 3
_scores = jax.jit(image_detection.scores_under)


@dataclasses.dataclass(frozen=True)
class Found:
    """All of one network. Each array has an entry per picture.

    p: mark -> change -> p-values under the right key. right: share of bits read right, by change. blank, wrong: mark ->
    p-values under keys of their own, of unmarked pictures and of marked ones. one_key: mark -> of unmarked pictures
    under the one key.
    plug_in: Tree-Ring's published p-values of unmarked pictures. pictures: mark -> stored. sets, noises: of the whole
    sets, without a mark, by Gaussian Shading, by it with one nonce, and by Tree-Ring.
    """

    p: dict[str, dict[str, np.ndarray]]
    right: dict[str, np.ndarray]
    blank: dict[str, np.ndarray]
    wrong: dict[str, np.ndarray]
    one_key: dict[str, np.ndarray]
    plug_in: np.ndarray
    pictures: dict[str, np.ndarray]
    psnr: np.ndarray
    sets: dict[str, np.ndarray]
    noises: dict[str, np.ndarray]


class Examination:
    """Marks, changes and reads the pictures of one network."""

    def __init__(self, config: Config, programs: WatermarkPrograms, params: Any, seed: int) -> None:
        self._config, self._programs, self._params, self._seed = config, programs, params, seed
        self._index, self._marks = np.arange(config.marked, dtype=np.int32), marks(config, seed)
        self._nonces: dict[str, Any] = dict.fromkeys(self._marks)
        self.pictures: dict[str, np.ndarray] = {}
        for number, name in enumerate((PLAIN, RING, SHADING)):
            index = self._index + config.marked * number
            noise, nonce = noise_of(self._marks.get(name), seed, index)
            self.pictures[name], self._nonces[name] = programs.draw(params, noise, index), nonce
        self.pictures[SPREAD] = changes.stored(np.asarray(self._marks[SPREAD].write(self.pictures[PLAIN])))  # type: ignore[attr-defined]

    def __call__(self) -> Found:
        """Every number of the network."""
        changed = {name: self._changed(name) for name in self._marks}
        readings = {
            name: {change: self._seen(name, images) for change, images in images_by_change.items()}
            for name, images_by_change in changed.items()
        }
        inverted = self._seen(RING, self.pictures[PLAIN])
        unmarked = {name: self.pictures[PLAIN] if name == SPREAD else inverted for name in self._marks}
        sets, noises = self._sets()
        return Found(
            p={
                name: {change: self._p(name, each) for change, each in by_change.items()}
                for name, by_change in readings.items()
            },
            right={change: self._right(each) for change, each in readings[SHADING].items()},
            blank={name: self._p(name, images, own_key=False) for name, images in unmarked.items()},
            wrong={
                name: self._p(name, by_change[changes.UNCHANGED], own_key=False) for name, by_change in readings.items()
            },
            one_key={name: self._p(name, images) for name, images in unmarked.items()},
            plug_in=image_detection.plug_in_p(self._marks[RING], inverted),  # type: ignore[arg-type]
            pictures=self.pictures,
            psnr=fidelity.psnr(self.pictures[SPREAD], self.pictures[PLAIN]),
            sets=sets,
            noises=noises,
        )

    def _changed(self, name: str) -> dict[str, np.ndarray]:
        images, redraw = self.pictures[name], self._programs.redraw
        changed = {change: function(images) for change, function in changes.changes(self._config).items()}
        return changed | {
            f"img2img {share:g}": redraw(self._params, images, self._seed, share) for share in self._config.strengths
        }

    def _seen(self, name: str, images: np.ndarray) -> np.ndarray:
        return images if name == SPREAD else self._programs.invert(self._params, images)

    def _p(self, name: str, reading: np.ndarray, *, own_key: bool = True) -> np.ndarray:
        """Under the key that marked, or under one for each picture that marked nothing: the first of those that are
        drawn for it.
        """
        words = randomisation.fresh_keys(key_of(_FRESH, self._seed), self._index, 1 + self._config.keys)
        if own_key:
            words = words.at[:, 0].set(jnp.asarray(self._marks[name].words))
        scores = np.asarray(_scores(words, self._marks[name], reading, self._nonces[name]))
        return randomisation.randomisation_p(scores[:, 0], scores[:, 1:])

    def _right(self, reading: np.ndarray) -> np.ndarray:
        mark: Any = self._marks[SHADING]
        return image_detection.read_bits(mark, reading, self._nonces[SHADING]).matches / self._config.bits

    def _sets(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Pictures and noises of whole sets."""
        images, noises = {}, {}
        for number, name in enumerate((PLAIN, SHADING, ALIKE, RING)):
            index = (
                np.arange(self._config.set_size, dtype=np.int32)
                + 3 * self._config.marked
                + number * self._config.set_size
            )
            mark = None if name == PLAIN else self._marks.get(name, self._marks[SHADING])
            noises[name] = np.asarray(noise_of(mark, self._seed, index, alike=name == ALIKE)[0])
            images[name] = self._programs.draw(self._params, noises[name], index)
        return images, noises


def examine(config: Config, network: Model, folder: RunFolder, progress: Progress) -> dict[int, Found]:
    """What is found in the pictures of each seed's network."""
    programs, results = WatermarkPrograms(config, network, progress), {}
    for seed in config.seeds:
        with progress.phase("mark, change and read", seed=seed):
            results[seed] = Examination(config, programs, image_training.averaged(network, folder, seed), seed)()
    return results


def uniform(p: np.ndarray) -> float:
    """The p of the Kolmogorov-Smirnov test that p-values are uniform."""
    return float(scipy.stats.kstest(p, "uniform").pvalue)


def normal(noises: np.ndarray) -> float:
    """The p of the test that each picture's noise is standard normal: whether the tests of all pictures have uniform
    p-values.
    """
    return uniform(np.array([scipy.stats.kstest(noise.ravel(), "norm").pvalue for noise in noises]))


def signs(noises: np.ndarray) -> float:
    """The p of the test that each number of the noise is as often positive as negative across the set."""
    z = np.sign(noises).reshape(len(noises), -1).mean(0) * len(noises) ** 0.5
    return float(scipy.stats.chi2.sf(np.sum(z**2), z.size))


def permuted(pairs: list[tuple[np.ndarray, np.ndarray]], permutations: int) -> tuple[float, float]:
    """(sum of the Fréchet distances of pairs of sets, the p of the test that within each pair the sets are
    exchangeable).
    """
    rng, rows = np.random.default_rng(0), [tuple(map(_features, pair)) for pair in pairs]
    observed = sum(frechet.frechet_distance(*pair) for pair in rows)
    chance = np.zeros(permutations)
    for first, second in rows:
        both = np.concatenate([first, second])
        for turn in range(permutations):
            order = rng.permutation(len(both))
            chance[turn] += frechet.frechet_distance(both[order[: len(first)]], both[order[len(first) :]])
    return float(observed), float(randomisation.randomisation_p(np.array(observed), chance))


def _features(images: np.ndarray) -> np.ndarray:
    """(n, 64) means over 4×4 pixels: few enough for a set to know their covariance."""
    n, h, w, _ = images.shape
    return images.reshape(n, h // 4, 4, w // 4, 4).mean((2, 4)).reshape(n, -1).astype(np.float64)
