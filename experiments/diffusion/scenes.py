"""What the networks learn from and what they are asked for: scenes of one or two coloured shapes, in words."""

from dataclasses import dataclass

import numpy as np

from experiments.tasks import captions, rendering, shapes
from gendiff.commands.text_to_image import networks
from gendiff.data import scaling

RECIPE = shapes.Recipe(
    objects=(1, 2), held_out=(("red", "circle"), ("green", "square"), ("blue", "triangle"), ("yellow", "cross"))
)
"""Scenes whose held-out combinations no training picture shows; each of their colours and shapes is in others."""
SIDE = networks.SHAPE[0]
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
    """Prompts 0, 1, … of their stream; held out: each shows a combination in one object that no training picture
    shows.
    """
    attributes = shapes.draw(RECIPE, ASKED, np.arange(count), unseen=held_out).attributes
    return Prompts(tuple(captions.write(attributes)), attributes)


def taught(count: int) -> tuple[str, ...]:
    """The captions of the first training pictures."""
    return tuple(captions.write(_drawn(count).attributes))


def training(count: int) -> tuple[np.ndarray, list[str]]:
    """Training pictures (n, h, w, 3) and their captions."""
    rendered = _drawn(count)
    return np.asarray(scaling.round_to_levels(rendering.render(rendered, SIDE), 256)), captions.write(
        rendered.attributes
    )


def words() -> frozenset[str]:
    """Every word that captions have."""
    named = {word for values in shapes.VOCABULARY.values() for name in values for word in name.split()}
    return frozenset(named | {"a", "an", "at", "the", "and"})


def _drawn(count: int) -> shapes.Scenes:
    return shapes.draw(RECIPE, TRAINING, np.arange(count))
