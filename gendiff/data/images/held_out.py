"""Pictures that are kept from training, chosen by their content, so that copies of one picture lie on one side."""

import hashlib
from collections.abc import Sequence

import numpy as np
import scipy
from jaxtyping import Shaped

from gendiff.core import checks
from gendiff.core.errors import DataError
from gendiff.data.images import random_access
from gendiff.data.images.random_access import Source

_BLOCK = 1024


def rows(groups: Sequence[bytes], held_out: float = 0.1, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into those that are trained on and those that are held out, so that equal groups lie on one side.

    Args:
        groups: (n,) one per row, such as digests of pictures.
        held_out: the share that is held out, in (0, 1); at most round(held_out · n) rows are.
        seed: 0 … 2³² - 1.

    Returns:
        (trained on, held out), rows in ascending order; one may be empty.

    Raises:
        ValueError: for numbers outside these ranges.
    """
    checks.in_range("held_out", held_out, 0.0, 1.0, open_low=True, open_high=True)
    checks.integer("seed", seed, 0, 2**32 - 1)
    members: dict[bytes, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(hashlib.sha256(seed.to_bytes(4, "little") + group).digest(), []).append(row)
    target, kept_out = round(held_out * len(groups)), list[int]()
    for group_digest in sorted(members):
        if len(kept_out) + len(members[group_digest]) <= target:
            kept_out += members[group_digest]
    out = np.zeros(len(groups), bool)
    out[kept_out] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def split(source: Source, held_out: float = 0.1, *, seed: int) -> tuple[Source, Source]:
    """Split a source into what is trained on and what is held out.

    Also known as: train/test split, deduplication.

    Pictures are taken in the order of SHA-256(seed, digest of the picture) until round(held_out · n) are held out; at
    most that many are, because exact copies are taken together or not at all. So the order of the files does not
    matter, and one more picture moves few others. The split is not stratified by class.

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
    digests = source.digests()
    training, kept_out = rows(digests, held_out, seed=seed)
    if not 0 < len(kept_out) < len(source):
        raise DataError(
            f"{source.name(0)}: held_out = {held_out} of {len(source)} pictures, {len(set(digests))} of them "
            f"different, holds out {len(kept_out)}; add pictures or change the share"
        )
    return random_access.subset(source, training), random_access.subset(source, kept_out)


def joined(groups: Sequence[bytes], images: Shaped[np.ndarray, "n h w c"], distance: float) -> list[bytes]:
    """Give groups that hold nearly the same picture one name, so that a split keeps such pictures together.

    Args:
        groups: (n,) one per picture.
        images: (n, h, w, c) uint8.
        distance: groups are joined where the root mean square difference of two of their pictures is at most this many
            of 255 levels.

    Returns:
        (n,) the name of the first group that each was joined to.

    Raises:
        ValueError: where the lengths differ, and for a negative distance.
    """
    if len(groups) != len(images):
        raise ValueError(f"there are {len(groups)} groups and {len(images)} images; one group per image is needed")
    checks.in_range("distance", distance, 0.0, 255.0)
    flat = images.reshape(len(images), -1).astype(np.float32)
    squares = np.einsum("nd,nd->n", flat, flat, dtype=np.float64)
    names = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([names[group] for group in groups], dtype=np.int64)
    links = [np.empty((0, 2), np.int64)]
    for begin in range(0, len(flat), _BLOCK):
        end = min(begin + _BLOCK, len(flat))
        distances = (squares[begin:end, None] + squares[None, :] - 2.0 * (flat[begin:end] @ flat.T)) / flat.shape[1]
        one, other = np.nonzero(distances <= distance**2)
        links.append(np.stack([numbers[one + begin], numbers[other]], 1))
    pairs = np.concatenate(links)
    graph = scipy.sparse.coo_array((np.ones(len(pairs), np.int8), pairs.T), (len(names), len(names)))
    component = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    first: dict[int, bytes] = {}
    for number, group in enumerate(names):
        first.setdefault(int(component[number]), group)
    return [first[int(component[number])] for number in numbers]
