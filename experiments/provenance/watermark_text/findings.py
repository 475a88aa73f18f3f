"""What detection finds in the texts of the model, whole and changed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.stats

from experiments.provenance.watermark_text import attacks, marks, texts
from experiments.provenance.watermark_text.config import Config
from experiments.provenance.watermark_text.texts import Part
from gendiff.provenance import text_detection
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Seen:
    """Of the texts of one part, or of several. z, wrong: (b,) with the key that marked them, and with another one. p: of the first.

    losses, entropies: (b,) means along the text, of the unmarked model, in nats. changed: by way and share, z of the changed texts.
    """

    part: Part
    z: np.ndarray
    p: np.ndarray
    wrong: np.ndarray
    losses: np.ndarray
    entropies: np.ndarray
    changed: Mapping[tuple[str, float], np.ndarray]


def seen(config: Config, folder: RunFolder, vocabulary: int) -> list[Seen]:
    """Every part. A text without a mark is looked at with the key that it would have had. vocabulary: of the model."""
    return [_seen(config, vocabulary, part, written) for part, written in texts.every(config, folder)]


def joined(found: list[Seen], kind: str, delta: float, *, anew: float = 0.0, first: Config | None = None) -> Seen:
    """All texts of a kind as one. first: only those that every other kind has too, in the same order."""
    of = [each for each in found if (each.part.kind, each.part.delta, each.part.anew) == (kind, delta, anew)]
    if first is not None:
        of = [each for each in of if each.part.seed == first.seeds[0] and each.part.start < first.few]
    numbers = {name: np.concatenate([getattr(each, name) for each in of]) for name in ("z", "p", "wrong", "losses", "entropies")}
    return Seen(of[0].part, changed={way: np.concatenate([each.changed[way] for each in of]) for way in of[0].changed}, **numbers)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """The rank correlation; 0 where one of both is the same everywhere."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(first, second).statistic)


def _seen(config: Config, vocabulary: int, part: Part, written: texts.Written) -> Seen:
    mark, other = (marks.build(config, part.kind, key, vocabulary) for key in (part.key, part.key ^ 1))
    whole, wrong = (text_detection.detect(each, written.tokens) for each in (mark, other))
    rng, changed = np.random.default_rng((part.seed, part.start)), {}
    for way in attacks.WAYS:
        for share in config.changes:
            tokens = attacks.changed(way, written.tokens, share, vocabulary, rng)
            changed[way, share] = text_detection.detect(mark, tokens).z
    return Seen(part, whole.z, whole.p, wrong.z, written.losses.mean(1), written.entropies.mean(1), changed)
