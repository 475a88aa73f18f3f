"""What the network of drawings learns from, and what it is asked for: emoji with their names, held out by concept."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gendiff.commands.images import emoji_pictures
from gendiff.commands.text_to_image import texts
from gendiff.commands.text_to_image.config import Drawings
from gendiff.commands.text_to_image.networks import SIDE
from gendiff.data import emoji, emoji_names, emoji_styles
from gendiff.data.emoji import Emoji

COLOURS = {
    "red": (234, 90, 71),
    "blue": (97, 178, 228),
    "green": (92, 158, 49),
    "yellow": (252, 234, 43),
    "purple": (176, 121, 181),
}
"""Red, green and blue of the drawings' own palette."""
STRONG = 0.25
"""By how much the largest channel of a coloured pixel exceeds its smallest: an eighth of the range."""
THINGS = ("cat", "dog", "bird", "house", "tree", "hat", "book", "apple")
"""Each is in training captions."""
GALLERY = (
    "a smiling sun wearing sunglasses",
    "a red cat",
    "a blue apple",
    "a green heart",
    "a crying face",
    "a cat with heart eyes",
    "flag of France",
    "a purple car",
)
"""Prompts of the gallery, none of which is a caption."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Drawings (n, SIDE, SIDE, 3) in [-1, 1], what each is called, and by which words it is found."""

    images: np.ndarray
    captions: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def styles(self) -> tuple[str, ...]:
        """Who drew each."""
        return tuple(caption.partition(emoji_styles.MARK)[2] or emoji.OPENMOJI for caption in self.captions)

    @property
    def names(self) -> tuple[str, ...]:
        """What each is called, without its style."""
        return tuple(map(emoji_styles.plain, self.captions))

    def of_style(self, style: str) -> "Pictures":
        """Those of one style."""
        return self.rows([row for row, each in enumerate(self.styles) if each == style])

    def rows(self, rows: Sequence[int] | np.ndarray) -> "Pictures":
        """Some of them."""
        return Pictures(
            self.images[rows], tuple(self.captions[row] for row in rows), tuple(self.keywords[row] for row in rows)
        )


def load(config: Drawings) -> tuple[Pictures, Pictures]:
    """(training drawings, held-out ones), at equal distances in the order of their code points."""
    training, held_out = emoji_pictures.split(SIDE, config.styles, config.styles_folder)
    return _spread("drawings.pictures", training, config.pictures), _spread(
        "drawings.held-out", held_out, config.held_out
    )


def named(config: Drawings, names: Sequence[str]) -> Pictures:
    """All training drawings of these names, in every style."""
    training, _ = emoji_pictures.split(SIDE, config.styles, config.styles_folder)
    rows = [row for row, caption in enumerate(training.captions) if emoji_styles.plain(caption) in names]
    chosen = emoji.select(training, rows)
    images = emoji_pictures.images("drawings.nouns", chosen, len(chosen)) if rows else np.zeros((0, SIDE, SIDE, 3))
    return Pictures(images, chosen.captions, chosen.keywords)


def learned(config: Drawings) -> Pictures:
    """What the networks of drawings are trained on."""
    return with_colours(load(config)[0], config)


def with_colours(training: Pictures, config: Drawings) -> Pictures:
    """The training drawings, and behind them `recoloured` of them in another colour that their captions name.

    Those have colour, are no flag, and their names say no colour. They are at equal distances, and colours take turns.
    The network is later asked for some things in some colours; no drawing whose name holds such a thing gets the
    colour.
    """
    rows = [row for row, name in enumerate(training.names) if _takes_colour(training.images[row], name)]
    prompts = (*config.combinations, *combinations(())[0], *GALLERY)
    requested = [words for words in (set(prompt.split()) - {"a"} for prompt in prompts) if words & COLOURS.keys()]
    images, captions, keywords = list(training.images), list(training.captions), list(training.keywords)
    turns = itertools.cycle(COLOURS)
    for number in emoji_pictures.at_equal_distances(len(rows), min(config.recoloured, len(rows))):
        row, colour = rows[number], next(turns)
        if any(words <= {colour, *training.names[row].lower().split()} for words in requested):
            continue
        images.append(recoloured(training.images[row], colour))
        captions.append(f"{colour} {training.captions[row]}")
        keywords.append(training.keywords[row])
    return Pictures(np.stack(images), tuple(captions), tuple(keywords))


def written(pictures: Pictures, config: Drawings) -> list[str]:
    """The texts of each drawing, one drawing after the other: `texts_per_drawing` of each, with as many keywords as
    fit.
    """
    return [
        text
        for name, style, words in zip(pictures.captions, pictures.styles, pictures.keywords, strict=True)
        for text in _texts(emoji_styles.plain(name), style, words, config)
    ]


def texts_per_drawing(config: Drawings) -> int:
    """How many texts the training has for each drawing."""
    return {"names": 2, "articles": 3, "varied": 7}[config.captions]


def combinations(captions: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """("a red cat", "a cat", "red"), each a list with one entry per thing and colour that are together in none of the
    captions.
    """
    known = " | ".join(captions).lower()
    pairs = [(colour, thing) for thing in THINGS for colour in COLOURS if f"{colour} {thing}" not in known]
    return (
        [f"a {colour} {thing}" for colour, thing in pairs],
        [f"a {thing}" for _, thing in pairs],
        [colour for colour, _ in pairs],
    )


def coloured(images: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """(n,) the share of an image's coloured pixels that are nearer to its own colour than to each other one, in [0, 1].

    A pixel is coloured where its largest channel exceeds its smallest by STRONG; colours are compared by direction from
    grey, so that light and dark do not matter. An image without a coloured pixel has 0.
    """
    pixels = np.clip(np.asarray(images, np.float64), -1, 1).reshape(len(images), -1, 3)
    strong = np.ptp(pixels, axis=2) >= STRONG
    nearest = np.argmax((pixels - pixels.mean(axis=2, keepdims=True)) @ _directions().T, axis=2)
    indices = np.array([list(COLOURS).index(colour) for colour in colours])[:, None]
    return (strong & (nearest == indices)).sum(axis=1) / np.maximum(strong.sum(axis=1), 1)


def recoloured(image: np.ndarray, colour: str) -> np.ndarray:
    """An image (h, w, 3) whose coloured pixels have another colour, as light and as strong as theirs."""
    pixels = np.clip(np.asarray(image, np.float64), -1, 1)
    grey = pixels.mean(axis=-1, keepdims=True)
    strength = np.linalg.norm(pixels - grey, axis=-1, keepdims=True)
    changed = np.clip(grey + strength * _directions()[list(COLOURS).index(colour)], -1, 1)
    return np.where(np.ptp(pixels, axis=-1, keepdims=True) >= STRONG, changed, pixels).astype(np.float32)


def _takes_colour(image: np.ndarray, name: str) -> bool:
    """Whether a picture may be recoloured: a twentieth of it has colour, and its name says neither one nor a flag."""
    words = set(name.lower().split())
    return not words & {*COLOURS, "flag", "orange", "brown", "black", "white"} and bool(
        (np.ptp(image, axis=-1) >= STRONG).mean() >= 0.05
    )


def _directions() -> np.ndarray:
    """(colours, 3) of the colours from grey, of length 1."""
    palette = np.array(list(COLOURS.values()), np.float64) / 127.5 - 1
    palette -= palette.mean(axis=1, keepdims=True)
    directions: np.ndarray = palette / np.linalg.norm(palette, axis=1, keepdims=True)
    return directions


def _texts(name: str, style: str, words: Sequence[str], config: Drawings) -> list[str]:
    for most in range(config.keywords, -1, -1):
        all_texts = (*emoji_names.texts(name, words, most), emoji_names.NEGATIVE)
        chosen = [_styled(text, style) for text in all_texts[: texts_per_drawing(config)]]
        if all(map(texts.fits, chosen)):
            break
    return chosen


def _styled(text: str, style: str) -> str:
    return text if style == emoji.OPENMOJI else emoji_styles.styled(text, style)


@functools.lru_cache(maxsize=4)
def _spread(option: str, drawings: Emoji, count: int) -> Pictures:
    images = emoji_pictures.images(option, drawings, count)
    chosen = emoji.select(drawings, emoji_pictures.at_equal_distances(len(drawings), count))
    return Pictures(images, chosen.captions, chosen.keywords or ((),) * count)
