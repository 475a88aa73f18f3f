"""The texts of the small model of bytes: orders with a checkable response, and what its first training reads.

An order is "add 12 34?", and its response "046". The first training reads two kinds of documents: facts, as in "add 12 34 is 046.", and
sheets, on which orders follow each other. So the network has read of results, and has read orders, but never one that was answered.
"""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from gendiff.data import sums

VERBS: dict[str, Callable[..., np.ndarray]] = {"add": np.add, "max": np.maximum, "min": np.minimum}
"""What is asked of two numbers."""
DIGITS = 2
"""Of each number; a response has one more."""
END = 256
"""The token that ends a text, behind those of all bytes."""
VOCABULARY = END + 1
FACTS, SHEET = 2, 3
"""How many facts, and how many orders, a document of the first training holds."""
ORDER, RESPONSE = len(b"add 12 34?\n"), len(b"046")
LENGTH = max(FACTS * len(b"add 12 34 is 046.\n"), SHEET * ORDER) + 1
"""Tokens of the longest document, its end included."""


def orders(verbs: Int[np.ndarray, "n"], pairs: Int[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n o"]:
    """Orders by the numbers of their verbs and their pairs of numbers."""
    return _bytes(f"{name} {first:02} {second:02}?\n" for name, (first, second) in zip(_names(verbs), pairs, strict=True))


def responses(verbs: Int[np.ndarray, "n"], pairs: Int[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n 3"]:
    """The right responses, without an end."""
    return _bytes(f"{result:03}" for result in _results(verbs, pairs))


def facts(verbs: Int[np.ndarray, "n"], pairs: Int[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n f"]:
    """The same as statements."""
    given = zip(_names(verbs), pairs, _results(verbs, pairs), strict=True)
    return _bytes(f"{name} {first:02} {second:02} is {result:03}.\n" for name, (first, second), result in given)


def documents_at(count: int, seed: int, step: int, *, without: Int64[np.ndarray, "m 2"]) -> Int32[np.ndarray, "n s"]:
    """The documents (count, LENGTH) of a step of the first training: one half facts, one half sheets, −1 behind them."""
    half = count // 2
    lines = half * FACTS + (count - half) * SHEET
    pairs = sums.batch_at(DIGITS, lines, seed, step, without=without)
    verbs = np.random.default_rng((seed, step, 1)).integers(len(VERBS), size=lines)
    stated, asked = (slice(None, half * FACTS), slice(half * FACTS, None))
    told, sheets = facts(verbs[stated], pairs[stated]), orders(verbs[asked], pairs[asked])
    return np.concatenate([_document(told.reshape(half, -1)), _document(sheets.reshape(count - half, -1))])


def is_response(tokens: Int[np.ndarray, "n s"], finished: Bool[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Whether each reply has the form of a response: three digits and the end. −1 stands behind replies."""
    digits = ((tokens[:, :RESPONSE] >= ord("0")) & (tokens[:, :RESPONSE] <= ord("9"))).all(1)
    return digits & finished & ((tokens >= 0).sum(1) == RESPONSE + 1)


def is_right(tokens: Int[np.ndarray, "n s"], right: Int[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
    """Whether each reply begins with the right response."""
    return (tokens[:, :RESPONSE] == right).all(1)


def is_order(tokens: Int[np.ndarray, "n s"]) -> Bool[np.ndarray, "n"]:
    """Whether each reply begins with a further order: it goes on with the sheet."""
    begun = tokens[:, :ORDER]
    alike = np.zeros(len(tokens), bool)
    for name in VERBS:
        form = np.frombuffer(f"{name} 00 00?\n".encode(), np.uint8)
        digit = form == ord("0")
        fits = np.where(digit, (begun >= ord("0")) & (begun <= ord("9")), begun == form)
        alike |= fits.all(1)
    return alike


def text(tokens: Int[np.ndarray, " s"]) -> str:
    """A reply as it is shown; ∎ is its end."""
    return "".join("∎" if token == END else chr(token).replace("\n", "↵") for token in tokens if token >= 0)


def _document(body: np.ndarray) -> np.ndarray:
    ended = np.concatenate([body, np.full((len(body), 1), END, np.int32)], 1)
    return np.pad(ended, ((0, 0), (0, LENGTH - ended.shape[1])), constant_values=-1)


def _names(verbs: np.ndarray) -> list[str]:
    return [tuple(VERBS)[verb] for verb in verbs]


def _results(verbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    every = np.stack([result(pairs[:, 0], pairs[:, 1]) for result in VERBS.values()])
    return every[verbs, np.arange(len(verbs))]


def _bytes(lines: Iterable[str]) -> np.ndarray:
    """(n, k) int32 of lines that are equally long."""
    encoded = [line.encode() for line in lines]
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(len(encoded), -1).astype(np.int32)
