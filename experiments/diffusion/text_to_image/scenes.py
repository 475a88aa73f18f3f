"""What the networks learn from and what they are asked for: scenes of one or two coloured shapes, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gendiff.data import captions, rendering, scaling, shapes

RECIPE = shapes.Recipe(objects=(1, 2), held_out=(("red", "circle"), ("green", "square"), ("blue", "triangle"), ("yellow", "cross")))
"""Scenes whose held-out combinations no training picture shows; each of their colours and shapes is in others."""
SIDE = 32
"""Pixels of a side."""
TRAINING, ASKED = 0, 1
"""Streams of scenes."""


@dataclass(frozen=True)
class Prompts:
    """Captions and what they ask for, as (n, 3, 4) attributes."""

    captions: tuple[str, ...]
    attributes: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)

    def repeated(self, count: int, times: int) -> "Prompts":
        """The first `count`, each so many times in a row."""
        rows = np.repeat(np.arange(count), times)
        return Prompts(tuple(self.captions[row] for row in rows), self.attributes[rows])


def prompts(count: int, *, held_out: bool) -> Prompts:
    """Prompts 0, 1, … of their stream; held out: each shows a combination in one object that no training picture shows."""
    attributes = shapes.draw(RECIPE, ASKED, np.arange(count), unseen=held_out).attributes
    return Prompts(tuple(captions.write(attributes)), attributes)


def training(count: int) -> tuple[np.ndarray, list[str]]:
    """Training pictures (n, h, w, 3) and their captions."""
    drawn = shapes.draw(RECIPE, TRAINING, np.arange(count))
    return np.asarray(scaling.round_to_levels(rendering.render(drawn, SIDE), 256)), captions.write(drawn.attributes)


def unknown_words(text: str) -> list[str]:
    """The words of a text that no caption has, in their order."""
    vocabulary = {word for values in shapes.VOCABULARY.values() for name in values for word in name.split()}
    vocabulary |= {"a", "an", "at", "the", "and"}
    return list(dict.fromkeys(word for word in _words(text) if word not in vocabulary))


def _words(text: str) -> Sequence[str]:
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
