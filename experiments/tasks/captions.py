"""Scenes in words and back, by a grammar without choices.

"a small red circle at the top left and a large blue square at the bottom right": objects in the order of their
positions.
"""

import re

import numpy as np
from jaxtyping import Int, Int32

from experiments.tasks import shapes

NOTHING = "nothing"
"""The caption of a scene without objects."""
UNCLEAR = "something unclear"
"""The caption of a scene that the oracle could not read."""
_COLOUR, _SHAPE, _SIZE, _POSITION = ("|".join(values) for values in shapes.VOCABULARY.values())
_OBJECT = re.compile(f"an? ({_SIZE}) ({_COLOUR}) ({_SHAPE}) at the ({_POSITION})")


def write(attributes: Int[np.ndarray, "b 3 4"]) -> list[str]:
    """Write one caption per scene: its objects in order, joined by "and", with commas before the last of three.

    A scene without objects is "nothing", one with other negative values (see `shapes_oracle.UNCLEAR`) "something
    unclear".
    """
    return [_caption(scene) for scene in attributes]


def phrase(attributes: Int[np.ndarray, "4"]) -> str:
    """Put one object in words; what is ABSENT is left out, and a shape that is not given is an "object"."""
    colour, shape, size, position = (
        values[value] if value >= 0 else ""
        for values, value in zip(shapes.VOCABULARY.values(), attributes, strict=True)
    )
    words = [word for word in (size, colour, shape or "object") if word]
    return f"{'an' if words[0] in ('orange', 'object') else 'a'} {' '.join(words)}" + (
        f" at the {position}" if position else ""
    )


def read(captions: list[str]) -> Int32[np.ndarray, "b 3 4"]:
    """Read the attributes that captions of this grammar state, objects in the order of their positions: the inverse of
    `write`.

    Raises:
        ValueError: with the caption, for one outside the grammar and for two objects at one position.
    """
    return np.array([_parse(caption) for caption in captions], dtype=np.int32).reshape(-1, shapes.MOST_OBJECTS, 4)


def _caption(scene: np.ndarray) -> str:
    if np.any(scene < shapes.ABSENT):
        return UNCLEAR
    phrases = [phrase(one) for one in scene if one[0] >= 0]
    return " and ".join(filter(None, [", ".join(phrases[:-1]), *phrases[-1:]])) or NOTHING


def _parse(caption: str) -> np.ndarray:
    scene = np.full((shapes.MOST_OBJECTS, 4), shapes.ABSENT, dtype=np.int32)
    if caption == NOTHING:
        return scene
    matches = [_OBJECT.fullmatch(part) for part in re.split(", | and ", caption)]
    objects = [_values(match) for match in matches if match]
    if len(objects) < len(matches) or len(objects) > shapes.MOST_OBJECTS:
        raise ValueError(
            f"caption {caption!r} must name one to three objects, each like 'a small red circle at the top left'"
        )
    if len({one[3] for one in objects}) < len(objects):
        raise ValueError(f"caption {caption!r} names two objects at one position")
    scene[: len(objects)] = sorted(objects, key=lambda one: one[3])
    return scene


def _values(match: re.Match[str]) -> tuple[int, int, int, int]:
    size, colour, shape, position = match.groups()
    return (
        shapes.COLOURS.index(colour),
        shapes.SHAPES.index(shape),
        shapes.SIZES.index(size),
        shapes.POSITIONS.index(position),
    )
