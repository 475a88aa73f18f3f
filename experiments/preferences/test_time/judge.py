"""How the test-time experiment judges: claims in every seed, and the controls."""

import functools
from collections.abc import Callable, Iterator

import numpy as np

from experiments.preferences.test_time import choosing, figures, findings, pictures, tables, train, verifier
from experiments.preferences.test_time.choosing import COVERAGE, LEARNED, MAJORITY, ORACLE
from experiments.preferences.test_time.config import Config
from experiments.preferences.test_time.findings import Found, Searched
from experiments.preferences.test_time.pictures import GOOD, SHUFFLED, WEAK
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder

Make = Callable[..., Claim]


def train_all(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Networks of sums, the verifier of their answers, and networks of pictures."""
    train.train(config, folder, progress)
    verifier.train_it(config, folder, progress)
    pictures.train(config, folder, progress)


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the networks that training left."""
    found = findings.of_all(config, folder, progress)
    with progress.phase("bootstrap"):
        made = claims(config, found)
    with progress.phase("figures"):
        shown = figures.every(config, folder, found)
    return Outcome(made, shown, tables.every(config, found, pictures.accuracies(config)))


def claims(config: Config, found: Found) -> tuple[Claim, ...]:
    """Every claim of every seed."""
    return tuple(claim for number in range(len(config.seeds)) for claim in _of_seed(config, found, number))


def _of_seed(config: Config, found: Found, number: int) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, config.seeds[number], n=config.questions)
    direct, scratch = (found.searched[arm.name] for arm in (train.direct(config), train.scratch(config)))
    yield from _thinking(config, found, number, direct.greedy[number], scratch.greedy[number], claim)
    yield from _searching(config, direct, number, claim)
    yield _continues(config, found, direct, number, claim)
    yield from _steering(config, found, number, claim)


def _thinking(config: Config, found: Found, number: int, direct: np.ndarray, scratch: np.ndarray, claim: Make) -> Iterator[Claim]:
    gain = _difference(config, scratch, direct)
    yield claim("scratch-work", "share of right answers with scratch-work less that of direct ones", gain, ">=", figure="thinking.png")
    p_value = findings.mcnemar(scratch, direct)
    yield claim("mcnemar", "p-value of scratch-work against direct answers, McNemar's exact test", p_value, "<=", figure="thinking.png")
    without = _difference(config, found.filler[number], scratch)
    statement = "filler tokens in the place of scratch-work: share of right answers less that with scratch-work"
    yield claim("filler", statement, without, "<=", kind="control", figure="thinking.png")
    budgets = found.budgets[:, number]
    full = _difference(config, budgets[config.digits], budgets[0])
    statement = "share of right answers with a budget for all scratch-work less that without any"
    yield claim("thinking", statement, full, ">=", figure="budget.png")
    falls = -np.diff(budgets[: config.digits + 1].mean(1))
    worst = int(np.argmax(falls))
    fall = _difference(config, budgets[worst], budgets[worst + 1])
    yield claim("budget-falls", "largest fall from one budget of scratch-work to the next", fall, "<=", figure="budget.png")


def _searching(config: Config, of: Searched, number: int, claim: Make) -> Iterator[Claim]:
    shares = {name: values[number] for name, values in of.shares.items()}
    coverage = shares[COVERAGE].mean(1)
    fall = float(np.max(-np.diff(coverage)))
    yield claim("falls", "largest fall of coverage from n samples to 2 n", fall, "<=", figure="compute.png")
    apart = float(np.abs(shares[ORACLE] - shares[COVERAGE]).max())
    yield claim("oracle", "largest difference between best of n by the exact checker and coverage", apart, "<=", figure="compute.png")
    lead = of.lead[number]
    for id, relation, chosen, which in (("mode", ">=", lead >= 1, "is"), ("other-mode", "<=", lead <= -1, "is not")):
        gains = of.voted[number][chosen]
        statement = f"gain of the majority over one sample where the right answer clearly {which} the most frequent one of other samples"
        yield claim(id, statement, _mean(config, gains), relation, n=max(1, len(gains)))
    strong, weak = (shares[choosing.noisy(config.noises[at])][-1] for at in (0, -1))
    against = f"best of {config.samples}, less the majority"
    over = _difference(config, strong, shares[MAJORITY][-1])
    yield claim("strong", f"a verifier with noise {config.noises[0]:g}: {against}", over, ">=", figure="noise.png")
    under = _difference(config, weak, shares[MAJORITY][-1])
    yield claim("weak", f"a verifier with noise {config.noises[-1]:g}: {against}", under, "<=", figure="noise.png")
    learned = _difference(config, shares[LEARNED][-1], shares[LEARNED][0])
    yield claim("learned", f"the learned verifier: best of {config.samples}, less one sample", learned, ">=", figure="compute.png")


def _continues(config: Config, found: Found, of: Searched, number: int, claim: Make) -> Claim:
    last = found.shorter[-1, number] - found.shorter[-2, number]
    gain = _difference(config, findings.per_doubling(config, of, number), last)
    statement = f"gain per doubling of samples, of {config.doublings} by weighted vote, less the gain of the last doubling of training"
    return claim("continues", statement, gain, ">=", figure="doublings.png")


def _steering(config: Config, found: Found, number: int, claim: Make) -> Iterator[Claim]:
    chosen, n = found.chosen[number], found.chosen[number][GOOD].judged.shape[1]
    good, weak, shuffled = (chosen[name] for name in (GOOD, WEAK, SHUFFLED))
    of_pictures = functools.partial(claim, n=n, figure="steered.png")
    statement = f"best of {config.samples} pictures by the verifier that saw many digits, less one picture, in the eyes of the judge"
    yield of_pictures("steered", statement, _difference(config, good.judged[-1], good.judged[0]), ">=")
    gap = _difference(config, weak.claimed[-1], weak.judged[-1])
    yield of_pictures("gamed", "choices that the weak verifier calls right less those that the judge calls right", gap, ">=")
    unsteered = _mean(config, shuffled.judged[-1])
    statement = "choices of a verifier trained on shuffled labels that the judge calls right"
    yield of_pictures("shuffled", statement, unsteered, "<=", kind="control")


def _difference(config: Config, first: np.ndarray, second: np.ndarray) -> Number | float:
    """Of means over the same questions (n,), with its interval."""
    return _mean(config, first.astype(np.float64) - second)


def _mean(config: Config, values: np.ndarray) -> Number | float:
    return intervals.interval(np.mean, values, resamples=config.resamples) if len(values) > 1 else float("nan")
