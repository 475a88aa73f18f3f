"""The prompts of the demonstration."""

from collections.abc import Mapping

from gendiff.commands.text_to_image import networks
from gendiff.commands.text_to_image.drawings import pictures

PROMPTS: Mapping[str, tuple[str, ...]] = {
    networks.EMOJI: pictures.GALLERY,
    networks.FROZEN: (
        "a small red circle at the top left",
        "a large green square at the bottom right",
        "a small yellow cross at the top right",
        "a large white triangle at the bottom left",
        "a small red circle at the top left and a large blue triangle at the bottom right",
        "a large cyan square at the top right and a small magenta cross at the bottom left",
    ),
}
"""Of each network that has any. Red circles, green squares, blue triangles and yellow crosses are in no training picture of scenes."""
