"""Metrics of answers over sizes and seeds, sharp ones and smooth ones, and what they say of each hypothesis."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from experiments.scaling.emergence import answers, train
from experiments.scaling.emergence.answers import Answers
from experiments.scaling.emergence.config import KINK_SIZES, Config
from gendiff.data import sums
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import trends
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import emergence

LOW, HALF, HIGH = 0.1, 0.5, 0.9
"""Where a rise begins, its middle, and where it ends."""


@dataclass(frozen=True)
class Scores:
    """Of one size and seed. n held-out sums with k digits per answer.

    exact: (n,) whether the likeliest answer is right. digits: (n,) share of its digits that are. edits: (n,) its edit distance.
    log_probs: (n, k) of each right digit, after the question and the right digits before it. brier: (n,) mean over digits.
    right: sampled answers that are right, of `sampled`.
    """

    exact: np.ndarray
    digits: np.ndarray
    edits: np.ndarray
    log_probs: np.ndarray
    brier: np.ndarray
    right: int
    sampled: int

    @property
    def nll(self) -> np.ndarray:
        """(n,) of the whole right answer, in nats."""
        return emergence.answer_nll(self.log_probs)

    @property
    def chance(self) -> np.ndarray:
        """(n,) of the whole right answer: the product of the chances of its digits."""
        return np.exp(-self.nll)

    @property
    def z(self) -> float:
        """Of sampled answers that are right, against the sum of their chances; 0 where no other number could have come."""
        return self._z(self.chance)

    @property
    def z_without_a_digit(self) -> float:
        """The same with a mask that leaves out the digit which is hardest on average: what a wrong mask would do."""
        hardest = int(np.argmin(self.log_probs.mean(0)))
        kept = np.broadcast_to(np.arange(self.log_probs.shape[1]) != hardest, self.log_probs.shape)
        return self._z(np.exp(-emergence.answer_nll(self.log_probs, kept)))

    def _z(self, chance: np.ndarray) -> float:
        each = self.sampled / len(chance)
        off, variance = self.right - each * chance.sum(), each * (chance * (1 - chance)).sum()
        if variance > 0:
            return float(off / np.sqrt(variance))
        return 0.0 if off == 0 else float(np.copysign(np.inf, off))


Found = list[list[Scores]]
"""Of one kind of answers: for each size, of each seed."""


def of_all(config: Config, folder: RunFolder, progress: Progress) -> dict[str, Found]:
    """By kind of answers, from the networks of a run."""
    found: dict[str, Found] = {kind: [] for kind in train.kinds(config)}
    with progress.phase("judge"), progress.task("sizes", len(config.widths)) as task:
        for number, width in enumerate(config.widths, 1):
            for kind, of in found.items():
                of.append(measured(answers.read(config, folder, kind, width)))
            task.update(number)
    return found


def measured(of: Answers) -> list[Scores]:
    """The metrics of each seed."""
    return [_of_seed(of, number) for number in range(len(of.likeliest))]


def table(found: Found, metric: Callable[[Scores], float]) -> np.ndarray:
    """(sizes, seeds) of a number."""
    return np.array([[metric(each) for each in seeds] for seeds in found], np.float64)


def exact_match(of: Scores) -> float:
    """Of likeliest answers."""
    return float(of.exact.mean())


def chance(of: Scores) -> float:
    """Mean chance of the whole right answer: the exact match that sampled answers have on average."""
    return float(of.chance.mean())


def digit_accuracy(of: Scores) -> float:
    """Of likeliest answers."""
    return float(of.digits.mean())


def nll_per_digit(of: Scores) -> float:
    """In nats."""
    return float(-of.log_probs.mean())


def floors(shuffled: Found) -> tuple[float, float]:
    """What answers without a look at the question reach: the means of digit accuracy and exact match over the sizes of the control."""
    digits, exact = (table(shuffled, metric).mean() for metric in (digit_accuracy, exact_match))
    return float(digits), float(exact)


def bands(sizes: np.ndarray, digits: np.ndarray, exact: np.ndarray, floor: tuple[float, float]) -> tuple[float, float]:
    """Decades of size over which digit accuracy and exact match (sizes,) go from 0.1 to 0.9 of the way from the control to 1.

    Digit accuracy may begin above 0.1 (`censored`): it then rises over more decades than those from the smallest network on, which are
    returned. NaN where 0.9 is not reached, and where exact match begins above 0.1.
    """
    smooth, sharp = ((values - low) / (1 - low) for values, low in zip((digits, exact), floor, strict=True))
    from_low = np.concatenate([np.minimum(smooth[:1], LOW), smooth[1:]])
    return tuple(emergence.sharpness_decades(sizes, values, LOW, HIGH) for values in (from_low, sharp))  # type: ignore[return-value]


def censored(digits: np.ndarray, floor: tuple[float, float]) -> bool:
    """Whether digit accuracy (sizes,) is above 0.1 of the way from the control to 1 at the smallest size: its rise begins below it."""
    return bool((digits[0] - floor[0]) / (1 - floor[0]) > LOW)


def spearman(sizes: np.ndarray, nll: np.ndarray) -> float:
    """Of sizes and losses (sizes,)."""
    return float(trends.spearman(sizes.tolist(), nll[None])[0])


def explained(sizes: np.ndarray, nll: np.ndarray, chance: np.ndarray, digits: int) -> float:
    """Share of the variance of the chance of right answers (sizes,) that a smooth loss explains.

    The loss per digit L is a straight line in logarithms, and an answer of k digits is right with exp(−k L) (Schaeffer et al., 2023,
    section 2; from memory).
    """
    slope, start = np.polyfit(np.log(sizes), np.log(nll), 1)
    smooth = np.exp(-digits * np.exp(start + slope * np.log(sizes)))
    return float(1 - np.square(chance - smooth).sum() / np.square(chance - chance.mean()).sum())


def kink(sizes: np.ndarray, nll: np.ndarray) -> float:
    """BIC of one line less that of two that meet, of losses (sizes,); NaN where there are too few sizes."""
    return emergence.segmented_vs_straight(sizes, nll).difference if len(sizes) >= KINK_SIZES else float("nan")


def middle(sizes: np.ndarray, score: np.ndarray) -> float:
    """The size at which a score (sizes,) reaches one half; NaN where it does not, and where it begins above."""
    return emergence.crossing(sizes, score, HALF)


def apart(sizes: np.ndarray, groups: np.ndarray) -> float:
    """Decades between the first and the last size at which a group of (sizes, groups) reaches one half; NaN where one does not."""
    middles = [np.log10(middle(sizes, group)) for group in groups.T]
    return float(max(middles) - min(middles)) if np.all(np.isfinite(middles)) else float("nan")


def by_carries(config: Config, found: Found, seed: int) -> np.ndarray:
    """(sizes, carries) exact match of held-out sums with so many carries, of one seed; a number that none has is left out."""
    carried = sums.carries(train.held_out(config), config.digits)
    counts = np.unique(carried)
    return np.array([[seeds[seed].exact[carried == count].mean() for count in counts] for seeds in found])


def carry_counts(config: Config) -> list[int]:
    """How many carries held-out sums have."""
    return np.unique(sums.carries(train.held_out(config), config.digits)).tolist()


def steepest_doubling(flops: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """(gain, operations at its start) of the doubling of computation over which a score (sizes,) gains most; lines in log operations.

    NaN where all sizes together are less than one doubling.
    """
    places = np.log2(flops)
    if places[-1] - places[0] < 1:
        return float("nan"), float("nan")
    starts = np.unique(np.clip(np.concatenate([places, places - 1]), places[0], places[-1] - 1))
    gains = np.interp(starts + 1, places, score) - np.interp(starts, places, score)
    best = int(np.argmax(gains))
    return float(gains[best]), float(2 ** starts[best])


@dataclass(frozen=True)
class Hypothesis:
    """One that is judged: its name, what it predicts, (seeds,) the measured numbers, and in which seeds it holds."""

    name: str
    predicts: str
    numbers: np.ndarray
    holds: np.ndarray

    @property
    def says(self) -> str:
        """In most seeds, or not; open where most seeds have no number."""
        if np.isnan(self.numbers).sum() > len(self.numbers) / 2:
            return "open"
        return "holds" if self.holds.sum() > len(self.holds) / 2 else "does not hold"


def hypotheses(config: Config, found: Found) -> tuple[Hypothesis, ...]:
    """Metric artefact, phase transition and percolation, each by its own number."""
    sizes, limits, seeds = train.parameters(config), config.hypotheses, range(len(found[0]))
    losses, chances = table(found, nll_per_digit), table(found, chance)
    digits = found[0][0].log_probs.shape[1]
    variance = np.array([explained(sizes, losses[:, seed], chances[:, seed], digits) for seed in seeds])
    kinks = np.array([kink(sizes, losses[:, seed]) for seed in seeds])
    spread = np.array([apart(sizes, by_carries(config, found, seed)) for seed in seeds])
    smooth = f"a straight line of log NLL explains ≥ {limits.explained:g} of the variance of exact match"
    kinked = f"two lines of log NLL beat one by more than {limits.kink:g} in BIC"
    together = f"sums with few and many carries reach one half within {limits.together:g} decades, beside a kink"
    return (
        Hypothesis("metric", smooth, variance, variance >= limits.explained),
        Hypothesis("transition", kinked, kinks, kinks > limits.kink),
        Hypothesis("percolation", together, spread, (spread <= limits.together) & (kinks > limits.kink)),
    )


def _of_seed(of: Answers, number: int) -> Scores:
    probabilities, likeliest = of.probabilities[number].astype(np.float64), of.likeliest[number]
    (n, k), symbols = of.truth.shape, probabilities.shape[2]
    chances = np.take_along_axis(probabilities, of.truth[:, :, None], 2)[:, :, 0]
    least = np.finfo(np.float32).tiny  # below it a chance of float32 is 0
    return Scores(
        emergence.exact_match(likeliest, of.truth),
        emergence.digit_accuracy(likeliest, of.truth),
        emergence.edit_distance(likeliest, of.truth),
        np.log(np.maximum(chances, least)),
        emergence.brier(probabilities.reshape(n * k, symbols), of.truth.reshape(n * k)).reshape(n, k).mean(1),
        int(of.right[number]),
        of.sampled,
    )
