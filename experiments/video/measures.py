"""What a set of clips shows: the digit that a classifier sees in each frame, how it moves, and the distance from real
clips.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.tasks import bouncing_digits
from experiments.video import clips
from gendiff.commands.video import draws
from gendiff.commands.video.config import DIGIT, Config
from gendiff.data import digits
from gendiff.metrics import features, frechet, motion, subsampling
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.intervals import SEED
from gendiff.runs.reporting.verdicts import Number

COMPONENTS = 300
"""Of the kernel of the classifier."""
SHOWN = 16
"""Clips of each set that figures show."""
MARGIN = 2
"""Pixels around a digit that the classifier sees."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One set of clips. confidence: (n, f) probability of the digit that was asked for. identity: (n, f) whether a
    frame shows the digit that most frames of its clip show. displacement: (n, f - 1) deviation from a constant
    velocity, in pixels. speed: (n,) mean length of a move. distances: (draws,) Fréchet. shown: the first clips.
    """

    confidence: np.ndarray
    identity: np.ndarray
    displacement: np.ndarray
    speed: np.ndarray
    distances: np.ndarray
    shown: np.ndarray


class ClipJudge:
    """Held-out clips, a classifier that has seen training digits alone, and every measure of a set of clips against
    them.
    """

    def __init__(self, config: Config) -> None:
        self._config, held_out = config, clips.held_out(config)
        self._classifier = classifier(config.side)
        self._features = motion.clip_features(draws.to_levels(held_out.clips))
        self.real = self.measure(held_out.clips, held_out.labels)
        self.shuffled = self.measure(clips.shuffled(held_out.clips), held_out.labels)
        self.floor = self._distances(draws.to_levels(clips.known(config).clips))

    def measure(self, generated: np.ndarray, labels: np.ndarray) -> Judged:
        """One set of clips (n, f, h, w, 1), of which these digits (n,) were asked for."""
        rounded = draws.to_levels(generated)
        odds = self.probabilities(rounded)
        moves = np.nan_to_num(np.linalg.norm(motion.displacements(rounded), axis=-1))
        return Judged(
            confidence=motion.identity_kept(odds, labels),
            identity=motion.identity_kept(np.argmax(odds, -1), _commonest(np.argmax(odds, -1))),
            displacement=motion.displacement_error(rounded),
            speed=moves.mean(1),
            distances=self._distances(rounded),
            shown=rounded[:SHOWN],
        )

    def probabilities(self, generated: np.ndarray) -> np.ndarray:
        """(n, f, 10) of the digits, for each frame of clips (n, f, h, w, 1) of any length."""
        rows = _rows(generated.reshape(-1, *generated.shape[2:]))
        return np.asarray(self._classifier.predict_proba(rows), np.float64).reshape(
            *generated.shape[:2], digits.CLASSES
        )

    def _distances(self, generated: np.ndarray) -> np.ndarray:
        """(draws,) Fréchet distances to held-out clips, of draws that are as large for every set; spread as their mean
        is uncertain.
        """
        rows = motion.clip_features(generated)
        size = min(self._config.samples, self._config.real) * 3 // 4
        values = frechet.over_subsets(self._features, rows, count=self._config.draws, size=size, seed=SEED)
        return subsampling.jackknifed(values, rows=len(rows), size=size)


@functools.lru_cache(maxsize=2)
def classifier(side: int) -> Any:
    """Logistic regression on features of a Gaussian kernel, as scikit-learn's classifier. It learns training digits on
    a black ground.
    """
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    frames, labels = clips.still(side)
    rows = _rows(frames)
    kernel = Nystroem(gamma=1.0 / (rows.shape[1] * rows.var()), n_components=COMPONENTS, random_state=SEED)
    return make_pipeline(kernel, LogisticRegression(C=10.0, max_iter=2000)).fit(rows, labels)


def numbers(judgement: Judged, real: Judged, floor: np.ndarray, resamples: int) -> dict[str, CellValue]:
    """Of a set by itself, and beside held-out clips, with intervals over clips."""

    def mean(rows: np.ndarray) -> Number:
        return intervals.interval(np.mean, rows.reshape(len(rows), -1).mean(1), resamples=resamples)

    def over(rows: np.ndarray, others: np.ndarray) -> Number:
        return intervals.interval(intervals.ratio_of_means, rows, others, resamples=resamples)

    def above(first: np.ndarray, second: np.ndarray, speeds: np.ndarray) -> float:
        return float((first.mean() - second.mean()) / speeds.mean())

    errors = judgement.displacement.mean(1), real.displacement.mean(1)
    return {
        "confidence": mean(judgement.confidence),
        "identity kept": mean(judgement.identity),
        "displacement error": mean(judgement.displacement),
        "displacement": mean(judgement.speed),
        "Fréchet distance": over(judgement.distances, floor),
        "clear": over(judgement.confidence.mean(1), real.confidence.mean(1)),
        "astray": intervals.interval(above, *errors, real.speed, resamples=resamples),
        "speed": verdicts.away(over(judgement.speed, real.speed), 1.0),
        "same": over(judgement.identity.mean(1), real.identity.mean(1)),
    }


def _rows(frames: np.ndarray) -> np.ndarray:
    return features.pixels(bouncing_digits.centred(frames, DIGIT + 2 * MARGIN))


def _commonest(classes: np.ndarray) -> np.ndarray:
    """(n,) the class that most frames (n, f) show, the smallest of several."""
    counts = (classes[:, :, None] == np.arange(digits.CLASSES)).sum(1)
    return np.argmax(counts, axis=1)
