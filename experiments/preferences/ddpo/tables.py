"""The numbers of the run: what each policy gained, at which KL, what judges say of it, and what it lost in diversity."""

from collections.abc import Iterator

import numpy as np

from experiments.preferences.ddpo import kl_frontier
from experiments.preferences.ddpo.config import DIGIT, INK, SCENES, Config
from experiments.preferences.ddpo.measured import DISTINCT, Found, PolicySamples
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.formatting import Cell
from gendiff.runs.reporting.results import Table

CHOICES = (4, 16, 64)
"""Of best-of-n."""


def every(config: Config, found: Found) -> tuple[Table, ...]:
    """All tables."""
    return *(_policies(config, found, reward) for reward in (DIGIT, INK, SCENES)), _others(config, found)


def _policies(config: Config, found: Found, reward: str) -> Table:
    reference = found.reference[reward]
    rows: list[tuple[Cell, ...]] = [("reference", *_measures(config, reference, reference, kl=False))]
    for n in CHOICES:
        if n <= kl_frontier.most_choices(reference.rewards):
            best = kl_frontier.expected_best(reference.rewards, n)
            more = (best - float(reference.rewards.mean())) / kl_frontier.deviation(reference.rewards)
            rows.append((f"best of {n}", best, more, kl_frontier.kl_bound(n), None, None, None, None))
    for (name, how), of_seeds in found.policies.items():
        if name == reward:
            rows += [(f"{how}, seed {seed}", *_measures(config, samples, reference)) for seed, samples in of_seeds.items()]
    columns = ("policy", "reward", "gain", "KL", "best-of-n gain at this KL", "judge sees it", "judge agrees", f"Vendi of {DISTINCT}")
    note = (
        "Gain: in standard deviations of the reference's reward. KL: of whole trajectories in nats, which is at least that of the samples; "
        "of best-of-n its bound. No gain of best-of-n: it would need more samples than were drawn. Vendi: how many distinct samples there "
        "are."
    )
    return Table(f"Policies by their reward: {reward}.", columns, tuple(rows), note, main=True)


def _measures(config: Config, samples: PolicySamples, reference: PolicySamples, kl: bool = True) -> Iterator[Cell]:
    of = reference.rewards
    yield intervals.interval(np.mean, samples.rewards, resamples=config.resamples)
    yield kl_frontier.gain(samples.rewards, of)
    yield float(samples.kl.mean()) if kl else None
    n = kl_frontier.choices_at(float(samples.kl.mean()))
    within = kl and n <= kl_frontier.most_choices(of)
    yield (kl_frontier.expected_best(of, n) - float(of.mean())) / kl_frontier.deviation(of) if within else None
    yield None if samples.judged is None else float(samples.judged.mean())
    yield None if samples.agreement is None else float(samples.agreement.mean())
    yield samples.vendi


def _others(config: Config, found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, samples in found.others.items():
        title = name if isinstance(name, str) else f"seed {name}"
        rewards = intervals.interval(np.mean, samples.rewards, resamples=config.resamples)
        rows.append((title, rewards, None if samples.judged is None else float(samples.judged.mean()), samples.vendi))
    columns = ("policy", "exactly as asked for", "judge sees it", f"Vendi of {DISTINCT}")
    note = "Scenes of two red circles at other places and of other sizes than those that were rewarded."
    return Table("Prompts that no policy has learned from.", columns, tuple(rows), note)
