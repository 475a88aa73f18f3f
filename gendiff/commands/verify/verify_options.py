"""Options of `verify`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from gendiff.core import foreign_files


@dataclasses.dataclass(frozen=True)
class VerifyOptions:
    """Report what a picture or a text says of who made it: metadata, content credentials (C2PA) and watermarks."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A picture (.png, .jpg; others for watermarks only) or a text (.txt, .md, .rst)."""
    mark: tuple[str, ...] = ()
    """Files of watermarks, as gendiff.provenance.watermark_files wrote them: they hold the secret keys. Transparent
    pixels are laid over white."""
    model: Annotated[str | None, tyro.conf.arg(metavar="smollm2|bytes|PATH")] = None
    """For texts: whose tokens the watermark marks: smollm2, bytes, a .gguf file, or a folder with a tokenizer.json."""


def path(options: VerifyOptions) -> Path:
    """The file. DataError where there is none."""
    return foreign_files.regular(foreign_files.expanded(options.file))
