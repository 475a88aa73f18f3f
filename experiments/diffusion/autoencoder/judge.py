"""How the autoencoder experiment judges: fidelity against compression, and where the softness of samples comes from."""

import functools
from collections.abc import Iterator, Mapping

import numpy as np

from experiments.diffusion.autoencoder import figures as autoencoder_figures
from experiments.diffusion.autoencoder import pictures, sets
from experiments.diffusion.autoencoder.config import Config
from experiments.diffusion.autoencoder.measures import Measure
from experiments.diffusion.autoencoder.pictures import SUBJECTS, Pictures
from experiments.diffusion.autoencoder.sets import Grid, Softness
from gendiff.metrics import fidelity
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

Soft = Mapping[int, Mapping[str, Softness]]
"""By seed, then by subject."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables, from the checkpoints of the folder."""
    given = pictures.load(config)
    with progress.phase("code"):
        grid, rivals = sets.code(config, folder, given, progress), sets.rivals(config, given)
    of_seed = sets.Softnesses(config, folder, given, progress)
    soft = {seed: of_seed.of(seed) for seed in config.seeds}
    with progress.phase("judge"):
        claims = (*coding_claims(config, grid, rivals, given), *softness_claims(config, soft), *null_claims(config, soft))
        tables = autoencoder_figures.tables(config, grid, rivals, soft)
    with progress.phase("figures"):
        shown = autoencoder_figures.figures(config, folder, grid, rivals, soft)
    return Outcome(claims, shown, tables)


def coding_claims(config: Config, grid: Grid, rivals: Grid, given: Pictures) -> Iterator[Claim]:
    """PSNR of held-out pictures against compression, of the first seed."""
    measure = Measure(config.cutoff, config.resamples)
    against = functools.partial(verdicts.against, config.thresholds, config.seeds[0], n=config.held_out)
    claim = functools.partial(against, figure="rate.png")
    fewest, most = config.latent_channels[0], config.latent_channels[-1]
    smallest, largest = config.factors[0], config.factors[-1]
    for subject in SUBJECTS:
        psnr = {place: of[subject].psnr for place, of in grid.items()}
        best, chosen = psnr[smallest, most], f"{subject}, factor {config.factor}, {config.channels} channels"
        words = f"{subject}, factor {smallest}, {most} channels: PSNR of held-out pictures, in dB"
        yield claim(f"{subject}-psnr", words, measure.mean(best), ">=", "psnr")
        gain = psnr[config.factor, config.channels] - rivals[config.factor, 3][subject].psnr
        words = f"{chosen}: PSNR less that of bicubic pictures of 3 channels, in dB"
        yield claim(f"{subject}-rival", words, measure.mean(gain), ">=", "rival")
        for factor in config.factors if most > fewest else ():
            words = f"{subject}, factor {factor}: PSNR with {most} channels less that with {fewest}, in dB"
            gain = psnr[factor, most] - psnr[factor, fewest]
            yield claim(f"{subject}-more-channels-f{factor}", words, measure.mean(gain), ">=", "more_channels")
        if largest > smallest:
            gain = np.mean([psnr[smallest, channels] - psnr[largest, channels] for channels in config.latent_channels], axis=0)
            words = f"{subject}: PSNR at factor {smallest} less that at {largest}, a mean over channels, in dB"
            yield claim(f"{subject}-smaller-factor", words, measure.mean(gain), ">=", "smaller_factor")
        originals = given.held_out[subject]
        blank = fidelity.psnr(np.broadcast_to(given.train[subject].mean(axis=0), originals.shape), originals)
        words = f"{subject}: PSNR of the mean training picture, in dB"
        yield against(f"{subject}-mean-psnr", words, measure.mean(blank), "<=", "psnr", kind="control")


def softness_claims(config: Config, soft: Soft) -> Iterator[Claim]:
    """The essay's sentence, its control in pixels, and what a decoder trained on edges mends; by seed and subject."""
    measure = Measure(config.cutoff, config.resamples)
    for seed, of_seed in soft.items():
        for subject, of in of_seed.items():
            true, samples = of.training[sets.ORIGINALS], of.training[sets.SAMPLES]
            claim = functools.partial(verdicts.against, config.thresholds, seed, n=len(samples), figure=f"spectra_{subject}.png")
            lacking = f"{subject}: high frequencies that samples of the latent model lack"
            yield claim(f"{subject}-samples-soft", lacking, measure.lack(true, samples), ">=", "samples_soft")
            share = measure.share(true, of.training[sets.DECODED], samples)
            yield claim(f"{subject}-decoder-share", f"{lacking}: the share that decoding alone explains", share, ">=", "decoder_share")
            excess = measure.excess(true, samples, of.training[sets.PIXELS])
            words = f"{lacking}, less what those of the pixel model lack"
            yield claim(f"{subject}-pixels-sharper", words, excess, ">=", "pixels_sharper")

            unseen, mend = functools.partial(claim, n=config.held_out), of.held_out
            true, decoded = mend[sets.ORIGINALS], mend[sets.DECODED]
            words = f"{subject}: the share of what decoded held-out pictures lack that"
            mended, longer = (measure.mended(true, decoded, mend[kind]) for kind in (sets.EDGES, sets.LONGER))
            yield unseen(f"{subject}-mended", f"{words} a decoder trained on edges mends", mended, ">=", "mended")
            without = f"{words} a decoder mends that trained as long without edges"
            yield unseen(f"{subject}-longer-mended", without, longer, "<=", "mended", kind="control")
            cost = measure.mean(of.psnr[sets.DECODED] - of.psnr[sets.EDGES])
            words = f"{subject}: PSNR of held-out pictures that training on edges costs, in dB"
            yield unseen(f"{subject}-mending-cost", words, cost, "<=", "mending_cost")


def null_claims(config: Config, soft: Soft) -> Iterator[Claim]:
    """Real pictures against real pictures: the measure must find nothing."""
    measure = Measure(config.cutoff, config.resamples)
    for subject, of in soft[config.seeds[0]].items():
        true = of.training[sets.ORIGINALS]
        lack = verdicts.away(measure.lack(true[::2], true[1::2]))
        words = f"{subject}: high frequencies that every second training picture lacks against the others, or has too many of"
        yield verdicts.against(
            config.thresholds, None, f"{subject}-null", words, lack, "<=", "samples_soft", n=len(true) // 2, kind="control"
        )
