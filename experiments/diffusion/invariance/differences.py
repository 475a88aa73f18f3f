"""What two ways to draw the same samples differ by, for a case or a control."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from experiments.diffusion.invariance import draw
from experiments.diffusion.invariance.config import Config
from experiments.diffusion.invariance.draw import Case, Way
from gendiff.diffusion.sampling import Sampler


@dataclass
class Compared:
    """One case. by_way: the largest difference of each way, in words. samples: how many were compared. drawn: those of
    each way.
    """

    case: Case
    by_way: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    drawn: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def add(self, how: str, result: np.ndarray, expected: np.ndarray) -> None:
        """One more way: of a trajectory of noise the share of unequal values, of samples the largest difference."""
        measure = unequal if self.case.trajectory else difference
        self.by_way[how], self.drawn[how] = measure(result, expected[: len(result)]), result
        self.samples += len(result)

    @property
    def worst(self) -> float:
        """Of all ways."""
        return max(self.by_way.values())


def difference(result: np.ndarray, expected: np.ndarray) -> float:
    """The largest |result - expected| over max(1, rms of the expected); infinite where anything is not finite."""
    if not (np.isfinite(result).all() and np.isfinite(expected).all()):
        return np.inf
    wide = expected.astype(np.float64)
    return float(np.abs(result - wide).max() / max(1.0, np.sqrt(np.mean(wide**2))))


def unequal(result: np.ndarray, expected: np.ndarray) -> float:
    """The share of float32 values that differ in any bit."""
    return float(np.mean(result.view(np.uint32) != expected.view(np.uint32)))


def compare(case: Case, ways: Iterable[Way], reference: Way) -> Compared:
    """Each way against the reference."""
    expected = case.draw(reference)
    compared = Compared(case, drawn={reference.how: expected})
    for way in ways:
        compared.add(way.how, case.draw(way), expected)
    return compared


def control(case: Case, sampler: Sampler, config: Config) -> Compared:
    """The case with a sampler that must fail: batches of the same size whose samples have other neighbours."""
    ways = draw.ways(config)
    return compare(dataclasses.replace(case, sampler=sampler), [ways["shuffled batches"]], ways["small batches"])
