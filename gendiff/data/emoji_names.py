"""What Unicode calls each emoji: the names and keywords of CLDR, as captions in English, and kinds of things."""

import functools
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gendiff.core import extras

NEGATIVE = "a drawing"
"""A caption that says of no drawing what it shows: guidance may lead away from it."""
SKIN, VARIATION = re.compile("[\U0001f3fb-\U0001f3ff]"), "\ufe0f"
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0061-\U000e007a]+\U000e007f")
"""Of a country: two letters; of a part of one: a black flag and letters of another kind."""

_PEOPLE = (
    "man woman men women person people boy girl child baby adult merman mermaid prince princess mr mrs santa claus mx"
)
_HAIR = "hair beard blond red curly white bald"
_COLOURS = "red orange yellow green blue purple brown black white pink grey gray light"
_WAYS = "up down left right upper lower facing back forward front rightwards leftwards"
_SIZES = "small medium large big little"
_ORDERS = "first second third last 1st 2nd 3rd one two three four five six seven eight nine ten eleven twelve"
_FILLERS = "in with and of the a holding hands hand sign"
_VARIANTS = frozenset(" ".join((_PEOPLE, _HAIR, _COLOURS, _WAYS, _SIZES, _ORDERS, _FILLERS)).split())
_CLOCK = re.compile(r"^\S+( o.clock|.thirty)$")


def code_points(stem: str) -> str:
    """The characters of an emoji, from the name of its file: code points in hexadecimal with hyphens between them."""
    return "".join(chr(int(point, 16)) for point in stem.split("-"))


def caption(characters: str) -> str | None:
    """Name an emoji in English words, such as "grinning face" or "flag of Fiji"; None where Unicode has no such emoji.

    Args:
        characters: one emoji, with or without its variation selectors.

    Raises:
        ImportError: without the package `emoji`.
    """
    name = _names().get(characters.replace(VARIATION, ""))
    return name if name is None or not _FLAG.fullmatch(characters) else f"flag of {name}"


def known_names() -> frozenset[str]:
    """Every name that Unicode has, but for flags.

    Raises:
        ImportError: without the package `emoji`.
    """
    return frozenset(_names().values())


def keywords(characters: str) -> tuple[str, ...]:
    """The words by which CLDR finds an emoji, in its order.

    They come from the package `pymojis-fulldata`, which needs Python 3.12; without it there are none.
    """
    return tuple(_listed().get(characters.replace(VARIATION, ""), {}).get("keywords", ()))


def kind(characters: str) -> str | None:
    """Say what kind of thing an emoji shows: the first word of its subgroup in Unicode's list.

    "animal" stands for animal-mammal and animal-bird. None where Unicode lists no such emoji.

    Raises:
        ImportError: without the package `pymojis-fulldata`, which needs Python 3.12.
    """
    if not _listed():
        raise ImportError(extras.needs("kinds of emoji need Python 3.12 and", "pymojis-fulldata", "emoji"))
    entry = _listed().get(characters.replace(VARIATION, ""))
    return None if entry is None else str(entry["subgroup"]).partition("-")[0]


def texts(name: str, keywords: Sequence[str], most: int) -> tuple[str, str, str, str, str, str]:
    """Texts by which a person may ask for a drawing.

    They are its name; the name with keywords after it, which it does not hold itself; the name and its concept, each
    with an article; the keywords alone; and the name with keywords before it. Without keywords the name stands for the
    last two.

    Args:
        name: a caption, such as "red apple".
        keywords: as from `keywords`.
        most: keywords in a text.

    Returns:
        Such as ("red apple", "red apple, fruit", "a red apple", "an apple", "apple", "fruit, red apple").
    """
    new = [word for word in keywords if word not in name.lower()][:most]
    after, before = (", ".join(words) for words in ((name, *new), (*new, name)))
    alone = ", ".join(keywords[:most]) or name
    return name, after, with_article(name), with_article(concept(name)), alone, before


def with_article(name: str) -> str:
    """A name behind its article, such as "an apple"."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def concept(name: str) -> str:
    """A caption without the words that distinguish variants of one drawing.

    Those are who does it, colours, directions, sizes and numbers: "man running facing right" and "woman running" are
    "running", "red heart" and "blue heart" are "heart", all times of day "clock". Where nothing is left the caption
    itself is the concept; countries' flags stay different.
    """
    if name.startswith("flag of "):
        return name
    if _CLOCK.match(name):
        return "clock"
    words = [
        word for word in re.findall(r"[^\s:,()-]+", name.lower()) if word not in _VARIANTS and not word.isdecimal()
    ]
    people = set(re.findall(r"[^\s:,()-]+", name.lower())) & set(_PEOPLE.split())
    return " ".join(words) or ("person" if people else name.lower())


@functools.cache
def _names() -> dict[str, str]:
    try:
        import emoji
    except ImportError as error:
        raise ImportError(extras.needs("captions of emoji need", "emoji", "emoji")) from error
    named = {characters: about["en"] for characters, about in emoji.EMOJI_DATA.items() if not SKIN.search(characters)}
    return {characters.replace(VARIATION, ""): name.strip(":").replace("_", " ") for characters, name in named.items()}


@functools.cache
def _listed() -> dict[str, dict[str, Any]]:
    """By its characters each entry of Unicode's list, with its subgroup; empty where the package is not installed."""
    package = importlib.util.find_spec("pymojis_fulldata")
    if package is None or package.origin is None:
        return {}
    stored = json.loads((Path(package.origin).parent / "data" / "full_emoji_data.json").read_text(encoding="utf-8"))
    return {
        each["emoji"].replace(VARIATION, ""): each | {"subgroup": subgroup}
        for group in stored["emojis"].values()
        for subgroup, members in group.items()
        for each in members
    }
