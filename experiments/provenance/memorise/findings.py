"""What the samples of all seeds show, before it is held against thresholds."""

import functools
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from experiments.provenance import side_by_side
from experiments.provenance.memorise import measures, network, sets, train
from experiments.provenance.memorise.config import Config, grid
from experiments.provenance.memorise.sets import REPEATED, Learned
from gendiff.data import digits
from gendiff.diffusion import oracles
from gendiff.diffusion.types import Denoiser
from gendiff.metrics import near_copies
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Found:
    """Of one seed. shares, seen, held_out: (steps, networks), of copies among samples, and losses on training and held-out pictures.

    last: (networks, n, 64) samples of the last step. hits: (networks, n) whether each of them is a copy.
    regenerated: (2, inside) whether each picture of the set with copies is regenerated, by its network and by the de-duplicated one.
    agreements: (halves, n) cosines of samples by networks of disjoint sets, less those of shuffled pairs.
    """

    learned: tuple[Learned, ...]
    shares: np.ndarray
    seen: np.ndarray
    held_out: np.ndarray
    last: np.ndarray
    hits: np.ndarray
    regenerated: np.ndarray
    agreements: np.ndarray

    def crossings(self, config: Config) -> np.ndarray:
        """(sizes,) steps at which the share of copies reaches the level; NaN where it does not."""
        steps = grid(config)
        return np.array([measures.crossing(steps, self.shares[:, at], config.level) for at in range(len(config.sizes))])


def of_all(config: Config, folder: RunFolder, progress: Progress) -> list[Found]:
    """Every seed, from the files of its training."""
    rows = digits.load().train_images.reshape(-1, side_by_side.PIXELS)
    found = []
    for seed in config.seeds:
        with progress.phase("judge", seed=seed):
            found.append(_of_seed(config, folder, seed, rows))
    return found


def controls(config: Config, images: np.ndarray) -> dict[str, np.ndarray]:
    """Of samples (n,) of denoisers that need no training, whether each is a copy: of the exact memoriser, and of a Gaussian."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    known: dict[str, Denoiser] = {
        "memoriser": oracles.empirical(images),
        "gaussian": oracles.correlated(rows.mean(0).reshape(side_by_side.SHAPE), np.cov(rows.T)),
    }
    index, jitted = jnp.arange(config.samples), devices.jit(functools.partial(network.draw, config))
    return {name: copied(config, drawing.finite(jitted(of, index), name), rows) for name, of in known.items()}


def copied(config: Config, samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n,) whether each sample is a copy of one of the rows (m, d)."""
    return near_copies.ratios(samples.reshape(len(samples), -1), rows) < config.ratio


def _of_seed(config: Config, folder: RunFolder, seed: int, images: np.ndarray) -> Found:
    learned, steps = sets.of_seed(config, seed), grid(config)
    shares, losses = [], []
    for step in steps:
        drawn = train.read(folder, seed, step)
        hits = np.stack([copied(config, of, images[each.distinct]) for of, each in zip(drawn.samples, learned, strict=True)])
        shares.append(hits.mean(1))
        losses.append((drawn.seen, drawn.held_out))
    at = [sets.place(config, name) for name in (REPEATED, f"{config.inside}")]
    pictures = images[learned[at[0]].distinct]
    regenerated = np.stack([measures.regenerated(drawn.samples[one], pictures, config.ratio) for one in at])
    pairs = [(sets.place(config, f"{size}"), sets.place(config, f"{size}, second half")) for size in config.halves]
    mean = images.mean(0)
    agreements = np.stack([measures.agreement(drawn.samples[one], drawn.samples[other], mean) for one, other in pairs])
    seen, held_out = np.stack(losses, 1)
    return Found(learned, np.stack(shares), seen, held_out, drawn.samples, hits, regenerated, agreements)
