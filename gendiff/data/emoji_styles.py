"""Emoji of Noto, Twemoji and Fluent, from packages of npm: one JSON file of SVG bodies each, in Iconify's format."""

from pathlib import Path
from typing import NamedTuple

from gendiff.core import checks, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import Config
from gendiff.data.images import random_access

MARK = ", in the style of "
"""Stands in a caption between the name of an emoji and that of its style."""


class Style(NamedTuple):
    """Who drew it, and under which licence.

    Args:
        package: of npm.
        license: by its SPDX name, as the package states it.
        attribution: what must stand beside pictures of these drawings, and of samples that were learned from them.
    """

    package: str
    license: str
    attribution: str


STYLES: dict[str, Style] = {
    "noto": Style(
        "@iconify-json/noto",
        "Apache-2.0",
        "Noto Emoji by Google, https://github.com/googlefonts/noto-emoji. License: Apache 2.0",
    ),
    "twemoji": Style(
        "@iconify-json/twemoji",
        "CC-BY-4.0",
        "Twemoji by Twitter and other contributors, https://github.com/jdecked/twemoji. License: CC BY 4.0",
    ),
    "fluent": Style(
        "@iconify-json/fluent-emoji-flat",
        "MIT",
        "Fluent Emoji (flat) by Microsoft, https://github.com/microsoft/fluentui-emoji. License: MIT",
    ),
}
"""By the name that captions use.

Twemoji's licence asks for its attribution; the texts of the other two stand in their repositories.
"""


class StyledDrawings(NamedTuple):
    """The drawings of a style.

    Args:
        svgs: by the code points of an emoji in capital hexadecimal with hyphens between them, without variation
            selectors, in their order.
        path: of the file that holds them.
        digest: SHA-256 of what was read, hexadecimal.
    """

    svgs: dict[str, str]
    path: Path
    digest: str


def load(style: str, folder: str | Path = ".") -> StyledDrawings:
    """Read the drawings of a style.

    Args:
        style: a name of STYLES.
        folder: where npm installed the package (its --prefix), or the unpacked package itself, which holds icons.json.

    Raises:
        ValueError: for an unknown style.
        DataError: with the path; with the command that installs the package where it is absent; and for a package that
            is not whole or that states another licence than STYLES.
    """
    checks.choice("style", style, STYLES)
    package = _found(STYLES[style].package, foreign_files.expanded(folder))
    stored = {name: package / f"{name}.json" for name in ("icons", "chars", "info")}
    try:
        texts = {name: foreign_files.text(path) for name, path in stored.items()}
        icons, characters, info = map(foreign_files.json_object, stored.values())
    except DataError as error:
        raise DataError(f"{error}; install the package again") from error
    stated = info.get("license", {}).get("spdx") if isinstance(info.get("license"), dict) else None
    if stated != STYLES[style].license:
        raise DataError(
            f"{stored['info']}: its license is {stated!r}, where {STYLES[style].license!r} was known of {style}: read "
            "it first"
        )
    svgs: dict[str, str] = {}
    for points, name in sorted((points.upper().replace("-FE0F", ""), name) for points, name in characters.items()):
        try:
            svgs.setdefault(points, _svg(icons, name))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"{stored['icons']}: the drawing {name!r} is absent or not in Iconify's format ({error!r})"
            ) from error
    return StyledDrawings(svgs, stored["icons"], random_access.fingerprint(style, *texts.values()))


def styled(caption: str, style: str) -> str:
    """Say in a caption who drew it: "red heart, in the style of twemoji"."""
    return f"{caption}{MARK}{style}"


def plain(caption: str) -> str:
    """Remove the style from a caption."""
    return caption.partition(MARK)[0]


def _found(package: str, folder: Path) -> Path:
    for candidate in (folder / "node_modules" / package, folder):
        if (candidate / "icons.json").is_file():
            return candidate
    raise DataError(
        f"{folder}: the package {package} is not there; install it by `npm install --prefix {folder} {package}`, "
        "or name the folder that holds it"
    )


def _svg(icons: Config, name: str) -> str:
    """The drawing, in a square around its middle.

    An alias is its parent, perhaps mirrored; other changes are not in these sets.
    """
    mirrored, passed = False, set[str]()
    while name not in icons["icons"]:
        alias = icons["aliases"][name]
        unknown = sorted({*alias} - {"parent", "hFlip"})
        if unknown or name in passed:
            raise KeyError(*(unknown or ["parent"]))
        passed.add(name)
        mirrored, name = mirrored != bool(alias.get("hFlip")), alias["parent"]
    icon = icons["icons"][name]
    left, top, width, height = (float(icon.get(key, icons.get(key, usual))) for key, usual in BOX.items())
    side = max(width, height)
    body = icon["body"]
    if mirrored:
        body = f'<g transform="translate({2 * left + width:g} 0) scale(-1 1)">{body}</g>'
    box = f"{left - (side - width) / 2:g} {top - (side - height) / 2:g} {side:g} {side:g}"
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} width="{side:g}" height="{side:g}" viewBox="{box}">{body}</svg>'


BOX = {"left": 0, "top": 0, "width": 16, "height": 16}
"""What Iconify's format takes where neither a drawing nor its set says it."""
