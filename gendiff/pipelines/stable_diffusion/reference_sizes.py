"""Which pictures a model reads beside its prompt, and in which sizes."""

import math
from collections.abc import Sequence

from gendiff.core.types import ArrayLike
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.pipelines.stable_diffusion.edits import Edit
from gendiff.pipelines.stable_diffusion.opened import Opened

SIDES = (
    *((672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328)),
    *((832, 1248), (880, 1184), (944, 1104), (1024, 1024)),
)
"""Of the training of FLUX.1 Kontext, shorter side first (from memory of its published code)."""
TRAINED = 1024
"""Side of the square among them."""


def reference_size(model: Opened, height: int, width: int) -> tuple[int, int]:
    """Height and width to which a picture is scaled before the model reads it.

    FLUX.1 Kontext reads the size of its training whose sides are most alike. FLUX.2 reads pictures as they are, but no
    larger than its training.

    Args:
        model: FLUX.1 Kontext or FLUX.2.
        height: of the picture in pixels.
        width: likewise.
    """
    side = (model.size or (TRAINED, TRAINED))[0]
    if model.index.kind is model_index.KONTEXT:
        both = [*SIDES, *(sides[::-1] for sides in SIDES)]
        rows, columns = min(both, key=lambda sides: abs(sides[1] / sides[0] - width / height))
        scale = side / TRAINED
    else:
        rows, columns, scale = height, width, min(1.0, side / math.sqrt(height * width))
    return _multiple(model, rows * scale), _multiple(model, columns * scale)


def with_painted(model: Opened, change: Edit | None, references: Sequence[ArrayLike] = ()) -> tuple[ArrayLike, ...]:
    """The references of a draw, with the picture that it paints into before them, as diffusers has it.

    FLUX.1 Kontext reads one picture: the reference, where there is one. It changes nothing for models without
    references, draws without a mask, and edits that are not `like_diffusers`.

    Args:
        model: that draws.
        change: the picture to begin from.
        references: pictures as `PromptPipeline` takes them.
    """
    most = model.index.kind.references
    if not most or change is None or change.mask is None or not change.like_diffusers:
        return tuple(references)
    return (change.picture, *references)[-most:]


def _multiple(model: Opened, pixels: float) -> int:
    return max(1, int(pixels) // model.multiple) * model.multiple
