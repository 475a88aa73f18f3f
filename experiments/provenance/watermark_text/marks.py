"""The kinds of marks that are compared, by name, and keys that nothing else uses."""

import numpy as np

from experiments.provenance.watermark_text.config import GAMMA, Config
from gendiff.provenance import text_watermarks
from gendiff.provenance.text_watermarks import TextWatermark

GREEN, GUMBEL, TOURNAMENT = "green list", "gumbel", "tournament"
KINDS = (GREEN, GUMBEL, TOURNAMENT)
SLUGS = {GREEN: "green", GUMBEL: "gumbel", TOURNAMENT: "tournament"}


def build(config: Config, kind: str, key: int, vocabulary: int, *, delta: float | None = None) -> TextWatermark:
    """A mark of a kind. delta: of green lists, that of the configuration where it is None."""
    if kind == GUMBEL:
        return text_watermarks.gumbel(key, vocabulary)
    if kind == TOURNAMENT:
        return text_watermarks.tournament(key, vocabulary)
    return text_watermarks.green_list(key, vocabulary, gamma=GAMMA, delta=config.delta if delta is None else delta)


def keys(count: int, *names: int) -> list[int]:
    """So many secret keys of 64 bits, by the numbers that name their use."""
    return [int(key) for key in np.random.default_rng(names).integers(0, 2**64, count, np.uint64)]
