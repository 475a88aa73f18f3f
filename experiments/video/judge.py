"""Clips of every attention against held-out ones, the drift of long rollouts, and costs, as claims."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.video import costs, figures, findings, measures
from experiments.video.findings import Found
from experiments.video.measures import Measured
from gendiff.commands.video import clip_network
from gendiff.commands.video.config import ATTENTIONS, FACTORISED, FULL, Config
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim from the checkpoints, and the causal network of the first seed in a file that may be committed."""
    found = findings.of_all(config, folder, progress)
    with progress.phase("figures"):
        shown, explorers = figures.every(config, folder, found), figures.players(config, folder, found)
        figures.write_clips(config, folder, found)
    clip_network.publish(config, folder, progress)
    return Outcome(claims(config, found), shown, figures.tables(config, found), explorers)


def claims(config: Config, found: Found) -> tuple[Claim, ...]:
    """Every claim, by what was found."""
    return (*_of_sets(config, found), *_of_long(config, found), *_of_costs(config, found), *_controls(config, found))


def _of_sets(config: Config, found: Found) -> Iterator[Claim]:
    for attention in ATTENTIONS:
        for seed, of in zip(config.seeds, found.sets[attention], strict=True):
            yield from _of_set(config, seed, attention, of, found.real)


def _of_set(config: Config, seed: int, attention: str, of: Measured, real: Measured) -> Iterator[Claim]:
    claim: Any = functools.partial(verdicts.against, config.thresholds, seed, n=len(of.speed), figure="player.png")
    statement = f"{attention} attention: confidence in the digit that was asked for, over that in held-out clips"
    confidence = measures.over(config, of.confidence.mean(1), real.confidence.mean(1))
    yield claim(f"confidence-{attention}", statement, confidence, ">=", "confidence")
    statement = f"{attention} attention: displacement error above that of held-out clips, in their mean displacements per frame"
    yield claim(f"displacement-{attention}", statement, measures.above(config, of, real), "<=", "displacement")
    statement = f"{attention} attention: distance from 1 of the mean displacement per frame over that of held-out clips"
    speed = verdicts.away(measures.over(config, of.speed, real.speed), 1.0)
    yield claim(f"speed-{attention}", statement, speed, "<=", "speed")
    statement = f"{attention} attention: share of frames that show the digit of most frames of their clip, over that of held-out clips"
    identity = measures.over(config, of.identity.mean(1), real.identity.mean(1))
    yield claim(f"identity-{attention}", statement, identity, ">=", "identity")


def _of_long(config: Config, found: Found) -> Iterator[Claim]:
    times = f"{config.long} times the length of training"
    for number, seed in enumerate(config.seeds):
        claim: Any = functools.partial(verdicts.against, config.thresholds, seed, n=config.long_samples, figure="drift.png")
        without, with_noise = (findings.parts(config, found.long[noise][number]) for noise in findings.noises(config))
        statement = f"rollouts of {times} with context noise: confidence in the last part over that in the first"
        kept = intervals.interval(intervals.ratio_of_means, with_noise[:, -1], with_noise[:, 0], paired=True, resamples=config.resamples)
        yield claim("long", statement, kept, ">=")
        statement = f"rollouts of {times}: loss of confidence without context noise less that with it"
        lost = [part[:, 0] - part[:, -1] for part in (without, with_noise)]
        slower = intervals.interval(intervals.difference_of_means, *lost, paired=True, resamples=config.resamples)
        yield claim("context-noise", statement, slower, ">=")


def _of_costs(config: Config, found: Found) -> Iterator[Claim]:
    claim: Any = functools.partial(verdicts.against, config.thresholds, None)
    spent, rounds, along = found.costs, config.rounds, costs.values(config, costs.FRAMES)
    ratio = spent.frame[costs.WHOLE] / spent.frame[costs.CACHED]
    cached = intervals.interval(np.median, ratio, resamples=config.resamples)
    statement = f"seconds of a frame of a rollout without the cache over those with it, {config.frames} frames being seen"
    yield claim("cached", statement, cached, ">=", n=rounds)
    statement = "exponent in frames of full attention less that of factorised attention"
    counted = [costs.exponent(along, spent.flops[costs.FRAMES][attention]) for attention in (FULL, FACTORISED)]
    yield claim("frames", f"{statement}, of operations", counted[0] - counted[1], ">=", n=1, figure="cost_frames.png")
    seconds = [spent.seconds[costs.FRAMES][attention] for attention in (FULL, FACTORISED)]
    apart = costs.difference(config, along, *seconds)
    yield claim("measured", f"{statement}, of seconds", apart, ">=", n=rounds, figure="cost_frames.png")


def _controls(config: Config, found: Found) -> Iterator[Claim]:
    claim: Any = functools.partial(verdicts.against, config.thresholds, None, kind="control")
    statement = "held-out clips with shuffled frames: displacement error above that in order, in mean displacements per frame"
    yield claim("shuffled", statement, measures.above(config, found.shuffled, found.real), ">=", n=config.real, figure="player.png")
    statement = "held-out clips with shuffled frames: Fréchet distance, in floors"
    distance = measures.over(config, found.shuffled.distances, found.floor)
    yield claim("shuffled-frechet", statement, distance, ">=", n=config.draws)
    statement = "an untrained network: confidence in the digit that was asked for, over that in held-out clips"
    blank = measures.over(config, found.untrained.confidence.mean(1), found.real.confidence.mean(1))
    yield claim("untrained", statement, blank, "<=", n=config.samples)
