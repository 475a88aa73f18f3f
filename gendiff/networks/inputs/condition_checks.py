"""Checks of conditions against the fields of a network."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks, records
from gendiff.core.condition_records import EndTime, GuidanceScale, Hint, ImageSize, ReferenceImages, Text
from gendiff.core.types import ArrayLike
from gendiff.networks.layers import image_inputs

SCORE = "score"
"""What `image_size` is in a network that is told a score in place of the target."""
MISSING = {
    "text": "the network reads texts of {} channels and needs one: pass networks.Text(tokens, mask)",
    "size": "the network needs the size of the image: pass networks.ImageSize(original, crop, target)",
    "guidance": "the network is told the guidance scale: pass networks.GuidanceScale(scale)",
    "second time": "the network is told a second time: pass networks.EndTime(t), or draw with distillation.two_times",
}
UNWANTED = {
    "text": "a text was given to a network without: build it with text_channels=…, or pass none",
    "size": "a size of the image was given to a network without: build it with image_size=True, or pass none",
    "guidance": "a guidance scale was given to a network without: build it with guidance=True, or guide its "
    "predictions",
    "second time": "a second time was given to a network without: build it with second_time=True, or pass none",
}


def checked_scale(guidance: GuidanceScale | None, expected: bool, batch: int) -> jax.Array | None:
    """Return the scale of each sample (b,), if the network wants one.

    Raises:
        TypeError: for a scale that holds no numbers.
        ValueError: for another shape, a concrete number below 0, a scale for a network without, and none for one with.
    """
    if not _present("guidance", guidance, expected) or guidance is None:
        return None
    numbers = image_inputs.number_per_sample("scale", guidance.scale, batch)
    checks.in_range("scale", guidance.scale, 0.0, float("inf"), open_high=True)
    return numbers


def checked_end_time(second: EndTime | None, expected: bool, batch: int) -> jax.Array | None:
    """Return the second time of each sample (b,), if the network wants one.

    Raises:
        TypeError: for a time that holds no numbers.
        ValueError: for another shape, a concrete number that is not finite, a second time for a network without, and
            none for one with.
    """
    if not _present("second time", second, expected) or second is None:
        return None
    numbers = image_inputs.number_per_sample("the second time", second.t, batch)
    checks.finite("the second time", second.t)
    return numbers


def checked_size(size: ImageSize | None, expected: bool | str, batch: int) -> ImageSize | None:
    """Return the size, if the network wants one, with its target or with its score.

    Raises:
        ValueError: for other shapes, a concrete number below 0, a size for a network without, none for one with, one
            without the part that the network needs, and `expected` that is no boolean and not "score".
    """
    if not isinstance(expected, bool):
        checks.choice("image_size", expected, (SCORE,))
    if not _present("size", size, expected) or size is None:
        return None
    last = SCORE if expected == SCORE else "target"
    for name in ("original", "crop", last):
        value, shape = getattr(size, name), (batch,) if name == SCORE else (batch, 2)
        if value is None:
            raise ValueError(
                f"the size of the image has no {name}, which a network with image_size = {expected!r} needs"
            )
        if np.shape(value) != shape:
            raise ValueError(f"{name} has shape {np.shape(value)}: {shape}, numbers of each sample, is needed")
        checks.in_range(name, value, 0.0, float("inf"), open_high=True)
    return records.replace(size, **{"target" if last == SCORE else SCORE: None})


def checked_text(text: Text | None, channels: int | None, pooled_channels: int | None, batch: int) -> Text | None:
    """Return the text, if it is one for a network with these channels.

    The result has no pooled encoding where the network has no use for it.

    Raises:
        TypeError: for tokens that are no floating encodings and a mask that is not boolean.
        ValueError: for other shapes, a text for a network without `text_channels`, none for one with, and a missing
            pooled encoding.
    """
    if not _present("text", text, channels) or text is None:
        return None
    _check_encoding("tokens", text.tokens)
    shape = np.shape(text.tokens)
    if len(shape) != 3 or shape[0] != batch or shape[1] == 0 or shape[2] != channels:
        raise ValueError(
            f"tokens have shape {shape}: (samples, tokens, text_channels) = ({batch}, 1 or more, {channels}) is needed"
        )
    if jnp.result_type(text.mask) != jnp.bool_:
        raise TypeError(
            f"mask must hold booleans, which tokens are there, got {jnp.result_type(text.mask)}: use mask > 0 for ones "
            "and zeros"
        )
    if np.shape(text.mask) != shape[:2]:
        raise ValueError(f"mask has shape {np.shape(text.mask)}: one boolean per token, {shape[:2]}, is needed")
    if pooled_channels is None:
        return records.replace(text, pooled=None)
    if text.pooled is None:
        raise ValueError(
            f"the network has pooled_channels = {pooled_channels}, and the text no pooled encoding: give it one"
        )
    _check_encoding("pooled", text.pooled)
    if np.shape(text.pooled) != (batch, pooled_channels):
        needed = (batch, pooled_channels)
        raise ValueError(f"pooled has shape {np.shape(text.pooled)}: (samples, pooled_channels) = {needed} is needed")
    return text


def checked_hint(hint: Hint | None, x: tuple[int, ...], factor: int) -> Hint:
    """Return the hint, if it fits x.

    Args:
        hint: that was given.
        x: shape of x.
        factor: how many times as high and wide it must be.

    Raises:
        ValueError: for no hint, another shape of its image or scale, and a concrete number below 0 in them.
        TypeError: for an image that is not floating.
    """
    if hint is None:
        raise ValueError("a ControlNet needs a hint: pass networks.Hint(image, scale)")
    if not jnp.issubdtype(jnp.result_type(hint.image), jnp.floating):
        raise TypeError(
            f"hint.image holds {jnp.result_type(hint.image)}, and floating numbers in [0, 1] are needed: divide bytes "
            "by 255"
        )
    needed = (x[0], factor * x[1], factor * x[2])
    if np.ndim(hint.image) != 4 or np.shape(hint.image)[:3] != needed:
        raise ValueError(
            f"hint.image has shape {np.shape(hint.image)}: ({', '.join(map(str, needed))}, channels) is needed"
        )
    if np.shape(hint.scale) not in ((), x[:1]):
        raise ValueError(f"hint.scale has shape {np.shape(hint.scale)}: () or one per sample, {x[:1]}, is needed")
    checks.in_range("hint.image", hint.image, 0.0, 1.0)
    checks.in_range("hint.scale", hint.scale, 0.0, float("inf"), open_high=True)
    return hint


def checked_references(references: ReferenceImages | None, x: tuple[int, ...], patch: int) -> tuple[ArrayLike, ...]:
    """Return the images of references; () where there are none.

    Args:
        references: that were given.
        x: shape of x.
        patch: what must divide their sides.

    Raises:
        ValueError: for other shapes.
        TypeError: for images that are not floating.
    """
    images = () if references is None else tuple(references.images)
    for number, image in enumerate(images):
        image_inputs.check_images(image, patch, "patch", f"reference image {number}")
        if (image.shape[0], image.shape[-1]) != (x[0], x[-1]):
            raise ValueError(
                f"reference image {number} has shape {image.shape}: the samples and channels of x, ({x[0]}, height, "
                f"width, {x[-1]}), are needed"
            )
    return images


def _present(kind: str, value: object, expected: bool | str | int | None) -> bool:
    """Whether there is such a condition. What the network lacks, and what it has no use for, is refused."""
    needs = expected is not None and expected is not False
    if needs != (value is not None):
        raise ValueError(MISSING[kind].format(expected) if needs else UNWANTED[kind])
    return needs


def _check_encoding(name: str, value: ArrayLike) -> None:
    if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise TypeError(
            f"{name} must be floating, the output of a text encoder, got {jnp.result_type(value)}: encode numbers of "
            "tokens first"
        )
