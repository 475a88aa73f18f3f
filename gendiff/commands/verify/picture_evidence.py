"""What the file of a picture holds: metadata, content credentials, and a watermark in its pixels."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from gendiff.core.errors import ConfigError
from gendiff.data import scaling
from gendiff.data.images import image_files
from gendiff.provenance import content_credentials, image_detection, metadata, watermark_files
from gendiff.provenance.image_watermarks import BitMark
from gendiff.provenance.spread_spectrum import SpreadSpectrum

SHOWN = 200
"""Characters of an entry, at most."""
STATES = {
    "Trusted": "intact, and signed by an issuer whom the list of the C2PA library names",
    "Valid": "intact since it was signed; nobody vouches for the signer, who may call itself anything",
    "Invalid": "the file was changed since it was signed, or wrongly signed: the manifest says nothing of this file",
}
SEED, KEYS = 0, 999
"""Of the fresh keys that a mark's own is ranked among, and how many."""


def lines(path: Path) -> Iterator[str]:
    """Metadata and content credentials. Raises DataError for what is no whole picture."""
    if path.suffix.lower() not in content_credentials.MEDIA:
        yield "metadata and content credentials: only those of PNG and JPEG are read"
        return
    try:
        records = metadata.read(path)
    except ImportError as error:
        raise ConfigError(str(error)) from error
    yield f"{records.format}, {records.size[0]} × {records.size[1]} pixels"
    if records.settings is None:
        yield f"metadata: no settings of {metadata.ENTRY}"
    else:
        yield f"metadata: settings of {metadata.ENTRY}, which anybody can write:"
        for name, value in records.settings.items():
            yield f"  {name}: {_short(value)}"
    for name, text in records.others.items():
        yield f"  {name} (another program's): {_short(text)}"
    yield from _credentials(path)


def watermark(path: Path, file: Path) -> Iterator[str]:
    """A mark in the pixels, which are laid over white where they are transparent. Raises DataError for a file that is
    no mark, and for pictures of another shape.
    """
    mark = watermark_files.load_image(file)
    kind = type(mark).__name__
    if not isinstance(mark, SpreadSpectrum):
        yield (
            f"watermark {file}: {kind} lies in the noise that the picture was drawn from. To find it the model that "
            "drew it must run backwards, which this command cannot: see gendiff.diffusion.editing.inversion and "
            "gendiff.provenance.image_detection"
        )
        return
    pixels = image_files.read(path, mode="L" if mark.shape[-1] == 1 else "RGB", background=(255, 255, 255))
    watermark_files.load_image(file, shape=pixels.shape)
    images = np.asarray(scaling.to_unit(pixels, 256), np.float32)[None]
    detection = image_detection.detect(jax.random.key(SEED), mark, images, np.zeros(1, np.int32), keys=KEYS)
    yield (
        f"watermark {file}: {kind}, p = {detection.p[0]:.3g} (its rank among {KEYS} fresh keys, so none is below "
        f"{1 / (KEYS + 1):g})"
    )
    if isinstance(mark, BitMark) and len(mark.bits) > 1:
        bits = image_detection.read_bits(mark, images)
        yield f"  {bits.matches[0]} of {len(mark.bits)} bits agree, p = {bits.p[0]:.3g}"


def _credentials(path: Path) -> Iterator[str]:
    try:
        credentials = content_credentials.read(path)
    except ImportError as error:
        yield f"content credentials (C2PA): not read; {error}"
        return
    if credentials is None:
        yield "content credentials (C2PA): none"
        return
    yield (
        f"content credentials (C2PA): {credentials.state}: "
        f"{STATES.get(credentials.state, 'a state that is not known here')}"
    )
    yield f"  signed as {credentials.issuer!r} by {credentials.generator!r}"
    for source in credentials.sources:
        yield f"  origin: {source.rsplit('/', 1)[-1]}"
    for name, value in (credentials.settings or {}).items():
        yield f"  {name}: {_short(value)}"
    for problem in credentials.problems:
        yield f"  problem: {problem}"


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
