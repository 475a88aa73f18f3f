"""Every number that the latent experiment found, in tables."""

import jax
import numpy as np

from experiments.diffusion.latent import costs, networks, time_to_quality
from experiments.diffusion.latent.accounts import Found
from experiments.diffusion.latent.config import Config
from experiments.diffusion.latent.networks import AUTOENCODER, LATENTS, MODELS, PIXELS
from experiments.diffusion.latent.sets import DECODING, MEAN
from experiments.diffusion.latent.time_to_quality import Reached
from gendiff import networks as library
from gendiff.commands.images import image_coding
from gendiff.runs.reporting import formatting
from gendiff.runs.reporting.results import Cell, Table

MIB = 2**20


def tables(config: Config, found: Found) -> tuple[Table, ...]:
    """The main ones first."""
    main = _accounts(config, found), _networks(config, found), _by_resolution(config, found)
    return (*main, _distances(config, found), _steps(config, found))


def _accounts(config: Config, found: Found) -> Table:
    """Both accounts of the time to equal quality, and the distance at equal time."""
    owed, end = found.times.before_latents(config), found.times.spent(config, PIXELS)[-1]
    spent, rows = found.times.spent(config, LATENTS), list[tuple[Cell, ...]]()
    for seed, of in found.seeds.items():
        pixels = of.curves[PIXELS][-1].mean()
        for account, before, speedup in zip(("without", "with"), (0.0, owed), found.speedups[seed], strict=True):
            latents = time_to_quality.at_equal_time(spent + before, of.curves[LATENTS].mean(axis=1), end)
            times = _time(speedup.slower), _time(speedup.faster)
            rows.append((seed, account, before, *times, speedup.ratio, speedup.bound, latents / pixels))
    columns = ("seed", "autoencoder", "its seconds", "pixels, s", "latents, s", "ratio", "the ratio is", "distance at equal time")
    title = "Seconds of training to the pixel model's last distance, and distance of latents over pixels at equal time"
    note = (
        "Times lie on straight lines between the points of the curves, in logarithms. A time is bounded where the first point is good "
        "enough or no point is, and so is the ratio. Encoding the training pictures counts with the autoencoder."
    )
    return Table(title, columns, tuple(rows), note=note, main=True)


def _time(reached: Reached) -> str:
    return f"{reached.bound} {formatting.number(reached.seconds)}".strip()


def _networks(config: Config, found: Found) -> Table:
    times, rows, calls = found.times, list[tuple[Cell, ...]](), found.drawing.seconds
    together = min(config.together, config.samples)
    for name in (AUTOENCODER, PIXELS, LATENTS):
        step = costs.over_rounds(np.array(times.seconds[name]), config.resamples)
        common: tuple[Cell, ...] = (name, _parameters(config, name), times.flops[name] / 1e9, step, times.peak[name] / MIB)
        if name not in MODELS:
            rows.append((*common, config.autoencoder.train_steps, None, None, None))
            continue
        seconds = np.array(calls[name])
        rate = costs.over_rounds(together * config.sampling_steps / seconds, config.resamples)
        each = seconds + np.array(calls[DECODING]) * (name == LATENTS)
        per_picture = costs.over_rounds(1000 * each / together, config.resamples)
        rows.append((*common, times.steps(config, name)[-1], rate, found.drawing.peak[name] / MIB, per_picture))
    columns = (
        *("network", "parameters", "GFLOP of a step", "seconds of a step", "MiB of a step", "steps"),
        *("evaluations per second", "MiB of drawing", "ms per picture"),
    )
    batches = f"{config.pixels.batch} pixels, {config.latents.batch} latents, {config.autoencoder.batch} pictures of the autoencoder"
    note = (
        f"A step has {batches}. Drawing is of {together} pictures in {config.sampling_steps} evaluations each, and its seconds include "
        "decoding. GFLOP and memory are XLA's."
    )
    return Table("What the networks cost", columns, tuple(rows), note=note, main=True)


def _parameters(config: Config, name: str) -> int:
    init = image_coding.init(networks.autoencoder(config)) if name == AUTOENCODER else networks.model(config, name).init
    return library.count(jax.eval_shape(init, jax.random.key(0)))


def _distances(config: Config, found: Found) -> Table:
    judge = found.judge
    rows: list[tuple[Cell, ...]] = [(None, "training pictures", None, None, None, judge.in_floors(judge.floor), None)]
    for seed, of in found.seeds.items():
        psnr = float(np.mean(of.psnr))
        rows.append((seed, "reconstructions of training pictures", None, None, None, judge.in_floors(of.decoded), psnr))
        for name in (PIXELS, LATENTS):
            numbers = zip(config.fractions, found.times.spent(config, name), found.times.steps(config, name), of.curves[name], strict=True)
            rows += [(seed, name, part, float(spent), steps, judge.in_floors(each), None) for part, spent, steps, each in numbers]
        rows += [
            (seed, name if name == MEAN else f"{name}, untrained", 0.0, 0.0, 0, judge.in_floors(each), None)
            for name, each in (of.untrained or {}).items()
        ]
    columns = ("seed", "pictures", "part of the time", "seconds", "steps", "Fréchet distance, in floors", "PSNR of held-out ones, dB")
    note = "Intervals are over draws of the same samples, so they tell nothing of another training; the second seed does."
    return Table("Fréchet distances to held-out pictures", columns, tuple(rows), note=note)


def _by_resolution(config: Config, found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for resolution in config.resolutions:
        latents = found.costs[costs.LATENTS, resolution]
        for what in costs.TIMED:
            of = found.costs[what, resolution]
            ratio = costs.ratio(of, latents, config.resamples) if what == costs.PIXELS else None
            operations = of.flops / latents.flops if what == costs.PIXELS else None
            milliseconds = costs.over_rounds(1000 * np.array(of.seconds), config.resamples)
            place = "×".join(map(str, of.shape))
            rows.append((resolution, what, place, milliseconds, of.flops / 1e9, of.peak / MIB, ratio, operations))
    columns = ("pixels", "of", "shape", "milliseconds", "GFLOP", "MiB", "seconds, pixels / latents", "FLOPs, pixels / latents")
    counted = costs.attention_flops(config)
    attentive, largest = counted[costs.PIXELS] / counted[costs.LATENTS], config.resolutions[-1]
    note = (
        "XLA leaves out products with the zeros around a map, so that FLOPs shrink a little more than positions. "
        f"The network has no self-attention. With it at the coarsest size, as the trained networks have, FLOPs at {largest} pixels are "
        f"{formatting.number(attentive)} times those in latents: that part grows with the square of the positions."
    )
    return Table("One evaluation for one picture, by resolution", columns, tuple(rows), note=note, main=True)


def _steps(config: Config, found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (resolution, *(costs.whole_picture(found.costs, resolution, steps, config.resamples) for steps in config.picture_steps))
        for resolution in config.resolutions
    ]
    columns = ("pixels", *(f"{steps} evaluations" for steps in config.picture_steps))
    return Table("A whole picture: seconds in pixels over seconds in latents, decoding included", columns, tuple(rows))
