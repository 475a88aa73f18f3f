"""Both halves of the forward experiment: claims, plots and tables."""

import functools
from typing import Any

import jax
import numpy as np

from experiments.diffusion.forward import chain as forward_chain
from experiments.diffusion.forward import prior
from experiments.diffusion.forward.config import Config
from gendiff.data import digits
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, verdicts
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Both halves of the question, with their claims, plots and tables."""
    split, of_seeds = digits.load(), []
    images = np.concatenate([split.train_images, split.held_out_images]).astype(np.float64)
    with jax.enable_x64(True):
        path = forward_chain.path()
        with progress.phase("compose"):
            exact, ahead = forward_chain.composed(path), forward_chain.composed(path, config.shift)
        for seed in config.seeds:
            with progress.phase("draw", seed=seed):
                of_seeds.append(forward_chain.scores(path, images, config.levels, config.groups, config.shift, config.chains, seed))
        with progress.phase("prior"):
            distances = prior.distances(images, config.resamples)
    claim = functools.partial(verdicts.against, config.thresholds, None)
    composed = functools.partial(claim, n=2 * path.alpha[:, 1:].size)
    statement = "the chain's mean factor and variance, composed without sampling, against the closed form: largest difference"
    shifted = f"the same against a closed form {config.shift} steps ahead"
    claims = [
        composed("closed-form", statement, exact, "<=", "exact"),
        composed("closed-form-shifted", shifted, ahead, ">=", "shifted_exact", kind="control"),
    ]
    for seed, scores in zip(config.seeds, of_seeds, strict=True):
        claims += _score_claims(config, scores, seed)
    terminal = functools.partial(claim, n=len(images))
    statement = "KL of q(x_T | x_0) from N(0, I), a mean over digits, in nats per image"
    ends = {"zero-snr-scaled-linear": "zero_terminal_snr(scaled_linear)", "zero-snr-linear": "zero_terminal_snr(linear)", "flow": "flow"}
    claims += [terminal(f"terminal-{id}", f"{name}: {statement}", distances[name].upper, "<=", "terminal") for id, name in ends.items()]
    leaked = "scaled_linear (Stable Diffusion): KL of q(x_T) from N(0, I), at least, in nats per image"
    claims.append(terminal("terminal-scaled-linear", leaked, distances["scaled_linear"].lower, ">=", "leaked", kind="control"))
    shown = (_score_plot(config, of_seeds, folder), prior.plot(distances, folder.figure("prior")))
    return Outcome(tuple(claims), shown, (forward_chain.table(of_seeds, config.levels), prior.table(distances, images[0].size)))


def _score_claims(config: Config, scores: forward_chain.Scores, seed: int) -> list[verdicts.Claim]:
    """The largest score is exact. Its chance is in the threshold: a score of N(0, 1) misses it with probability 6.3e-5."""
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.chains)
    chain, shifted = (float(np.abs(z).max()) for z in (scores["chain"], scores["shifted"]))
    statement = f"moments of drawn chains against the closed form: largest |z| of {scores['chain'].size}"
    wrong = f"the same chains against a closed form {config.shift} steps ahead: largest |z| of {scores['shifted'].size}"
    return [
        claim("moments", statement, chain, "<=", "standard_errors"),
        claim("moments-shifted", wrong, shifted, ">=", "standard_errors", kind="control"),
    ]


def _score_plot(config: Config, of_seeds: list[forward_chain.Scores], folder: RunFolder) -> Figure:
    ahead = f"chain against {config.shift} steps ahead"
    names = {"chain": "chain against closed form", "closed": "add_noise against closed form", "shifted": ahead}
    curves = []
    for kind, name in names.items():
        largest = np.max([np.abs(scores[kind]).max(axis=(1, 2, 3)) for scores in of_seeds], axis=0)
        curves.append(figures.Curve(name, config.levels, largest))
    options: Any = {"x_label": "steps of the chain", "y_label": "largest |z|", "log_x": True, "log_y": True}
    caption, limit = "Largest |z| of mean, slope and variance over schedules, pixel groups and seeds.", config.thresholds.standard_errors
    return figures.curves(curves, folder.figure("moments"), caption, thresholds=[("threshold", limit)], **options)
