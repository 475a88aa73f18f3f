"""What the autoencoder experiment shows: rate and fidelity, spectra, lacks, pictures, losses, and tables."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.diffusion.autoencoder import networks, sets, train
from experiments.diffusion.autoencoder.config import Config
from experiments.diffusion.autoencoder.measures import Measure
from experiments.diffusion.autoencoder.pictures import SIDE, SUBJECTS
from experiments.diffusion.autoencoder.sets import Grid, Softness
from gendiff.commands.images import image_training
from gendiff.runs.reporting import figures as draw
from gendiff.runs.reporting.results import Cell, Figure, Table
from gendiff.runs.run_folder import RunFolder

OF_PICTURE = SIDE * SIDE * 3
"""Numbers of a picture."""
Soft = Mapping[int, Mapping[str, Softness]]


def figures(config: Config, folder: RunFolder, grid: Grid, rivals: Grid, soft: Soft) -> tuple[Figure, ...]:
    """Those of the first seed, left in the folder."""
    first = soft[config.seeds[0]]
    shown = [_rate(grid, rivals, folder.figure("rate"))]
    for subject, of in first.items():
        shown += [_spectra(config, subject, of, folder.figure(f"spectra_{subject}")), _pictures(config, subject, of, folder)]
    return (*shown, _lacks(config, first, folder.figure("lacks")), _losses(config, folder))


def tables(config: Config, grid: Grid, rivals: Grid, soft: Soft) -> tuple[Table, ...]:
    """Every number that the experiment found."""
    return _fidelity(config, grid, rivals), _softness(config, soft)


def numbers(factor: int, channels: int) -> int:
    """How many a latent has."""
    return (SIDE // factor) ** 2 * channels


def _rate(grid: Grid, rivals: Grid, path: Path) -> Figure:
    curves = []
    for subject in SUBJECTS:
        for factor in dict.fromkeys(factor for factor, _ in grid):
            places = {place: of for place, of in grid.items() if place[0] == factor}
            curves.append(_of_codes(f"{subject}, factor {factor}", subject, places))
        curves.append(_of_codes(f"{subject}, bicubic", subject, rivals))
    caption = "PSNR of held-out pictures against compression: numbers of a picture per number of its latent."
    return draw.curves(curves, path, caption, x_label="compression", y_label="PSNR in dB", log_x=True)


def _of_codes(label: str, subject: str, places: Grid) -> draw.Curve:
    x = [OF_PICTURE / numbers(*place) for place in places]
    return draw.Curve(label, np.array(x), np.array([of[subject].psnr.mean() for of in places.values()]))


def _spectra(config: Config, subject: str, of: Softness, path: Path) -> Figure:
    kinds = (sets.ORIGINALS, sets.DECODED, sets.EDGES, sets.SAMPLES, sets.PIXELS)
    curves = [draw.Curve(kind, of.frequency[1:], of.power[kind][1:]) for kind in kinds]
    caption = f"{subject.capitalize()}: mean power by spatial frequency under a Hann window; high ones begin at {config.cutoff:g}."
    return draw.curves(curves, path, caption, x_label="cycles per pixel", y_label="power", log_y=True)


def _pictures(config: Config, subject: str, of: Softness, folder: RunFolder) -> Figure:
    caption = f"{subject.capitalize()}, not selected; a row each of {', '.join(of.shown)}. The first {1 + len(sets.CODED)} are held out."
    return draw.grid(
        np.concatenate(list(of.shown.values())), config.shown, folder.figure(f"pictures_{subject}"), caption, rows=list(of.shown)
    )


def _lacks(config: Config, first: Mapping[str, Softness], path: Path) -> Figure:
    measure = Measure(config.cutoff, config.resamples)
    bars = {
        f"{subject}: {kind}": measure.lack(of.training[sets.ORIGINALS], of.training[kind], paired=kind in sets.CODED)
        for subject, of in first.items()
        for kind in (*sets.CODED, *sets.DRAWN)
    }
    caption = "High frequencies that pictures lack: 1 - mean energy / that of the training pictures. Below 0 they have too many."
    return draw.bars(bars, path, caption, x_label="share that pictures lack", thresholds=[("soft", config.thresholds.samples_soft)])


def _losses(config: Config, folder: RunFolder) -> Figure:
    curves = []
    for factor, channels, seeds in train.autoencoders(config):
        place = folder.inside(networks.name(factor, channels))
        curves.append(image_training.loss_curve(f"factor {factor}, {channels} channels", place, seeds[0], "reconstruction"))
    caption = "Mean absolute error of pixels in training, as a mean over lines of the log."
    return draw.curves(curves, folder.figure("loss"), caption, x_label="step", y_label="error", log_y=True)


def _fidelity(config: Config, grid: Grid, rivals: Grid) -> Table:
    measure, rows = Measure(config.cutoff, config.resamples), []
    for code, places in (("autoencoder", grid), ("bicubic", rivals)):
        for (factor, channels), of_place in places.items():
            for subject, of in of_place.items():
                count = numbers(factor, channels)
                nats = None if of.nats is None else measure.mean(of.nats)
                bits = None if of.nats is None else float(np.mean(of.nats)) / (math.log(2) * SIDE**2)
                row: tuple[Cell, ...] = (code, subject, factor, channels, count, OF_PICTURE / count)
                rows.append((*row, measure.mean(of.psnr), measure.mean(of.ssim), nats, bits))
    columns = ("code", "subject", "factor", "channels", "numbers", "compression", "PSNR, dB", "SSIM", "nats", "bits per pixel")
    note = "Nats are of the divergence from N(0, 1), which the small weight hardly holds down: they bound the rate of this code, loosely."
    return Table("Held-out pictures: fidelity and rate, first seed", columns, tuple(rows), note=note, main=True)


def _softness(config: Config, soft: Soft) -> Table:
    measure = Measure(config.cutoff, config.resamples)
    rows: list[tuple[Cell, ...]] = []
    for seed, of_seed in soft.items():
        for subject, of in of_seed.items():
            for kind in (*sets.CODED, *sets.DRAWN):
                true, coded = of.training[sets.ORIGINALS], kind in sets.CODED
                lack = measure.lack(true, of.training[kind], paired=coded)
                unseen = measure.lack(of.held_out[sets.ORIGINALS], of.held_out[kind], paired=True) if coded else None
                psnr = measure.mean(of.psnr[kind]) if coded else None
                rows.append((seed, subject, kind, lack, unseen, psnr))
    columns = ("seed", "subject", "pictures", "lack", "lack of held-out ones", "PSNR of held-out ones, dB")
    title = f"High frequencies, from {config.cutoff:g} cycles per pixel on, that pictures lack against the training pictures"
    return Table(title, columns, tuple(rows), main=True)
