"""Pictures that are kept from training, chosen by their content, so that copies of one picture lie on one side."""

import hashlib

import numpy as np

from gendiff.core import checks
from gendiff.core.errors import DataError
from gendiff.data import random_access
from gendiff.data.random_access import Source


def split(source: Source, held_out: float = 0.1, *, seed: int) -> tuple[Source, Source]:
    """Split a source into what is trained on and what is held out.

    Pictures are taken in the order of SHA-256(seed, digest of the picture) until round(held_out · n) are held out; at most that many are,
    because exact copies are taken together or not at all. So the order of the files does not matter, and one more picture moves few others.
    The split is not stratified by class.

    Args:
        source: (n,) examples. Unless a scan has read it, every picture is decoded.
        held_out: the share that is held out, in (0, 1).
        seed: 0 … 2³² - 1.

    Returns:
        (trained on, held out), each in the source's order.

    Raises:
        ValueError: for numbers outside these ranges.
        DataError: where one side would be empty.
    """
    checks.in_range("held_out", held_out, 0.0, 1.0, open_low=True, open_high=True)
    checks.integer("seed", seed, 0, 2**32 - 1)
    copies: dict[bytes, list[int]] = {}
    for row, content in enumerate(source.digests()):
        copies.setdefault(hashlib.sha256(seed.to_bytes(4, "little") + content).digest(), []).append(row)
    target, kept_out = round(held_out * len(source)), list[int]()
    for place in sorted(copies):
        if len(kept_out) + len(copies[place]) <= target:
            kept_out += copies[place]
    if not 0 < len(kept_out) < len(source):
        raise DataError(
            f"{source.name(0)}: held_out = {held_out} of {len(source)} pictures, {len(copies)} of them different, "
            f"holds out {len(kept_out)}; add pictures or change the share"
        )
    out = np.zeros(len(source), bool)
    out[kept_out] = True
    return random_access.subset(source, np.flatnonzero(~out)), random_access.subset(source, np.flatnonzero(out))
