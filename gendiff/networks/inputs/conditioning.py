"""Conditions of a network beside x and t.

Each condition is recognised by its type, so that their order does not matter.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.condition_records import EndTime, GuidanceScale, Hint, History, ImageSize, ReferenceImages, Text
from gendiff.core.types import DType, PyTree
from gendiff.networks.fast.feature_cache import BlockChange, DeepFeatures, Kept
from gendiff.networks.fast.frame_cache import FrameCache
from gendiff.networks.inputs import condition_checks
from gendiff.networks.inputs.control import Residuals
from gendiff.networks.layers.embeddings import Label, checked_label, sinusoidal

FREQUENCIES = 256
"""Size of the sinusoidal embedding of each number of a size."""
Condition = (
    Label
    | Text
    | ImageSize
    | GuidanceScale
    | EndTime
    | ReferenceImages
    | Hint
    | Residuals
    | Kept
    | FrameCache
    | History
)
"""One condition of a network; None is no condition.

A label is (b,) or (). A Hint is for a ControlNet, and Residuals are its output. The caches are for the next call.
"""
KINDS: dict[type, str] = {
    **{Text: "text", ImageSize: "size", GuidanceScale: "guidance scale", EndTime: "second time"},
    **{
        Hint: "hint",
        Residuals: "residuals",
        DeepFeatures: "deep features",
        BlockChange: "block change",
        FrameCache: "frame cache",
        History: "history",
        ReferenceImages: "reference images",
    },
}
REFUSALS = {
    "hint": "a hint was given to a network that reads none: a ControlNet does, and controlnet.controlled joins it to "
    "its U-Net",
    "residuals": "residuals were given to a network that adds none: a U-Net does",
    "deep features": "deep features were given to a network that keeps none: a U-Net does",
    "block change": "a block change was given to a network that keeps none: a DiT does",
    "frame cache": "a frame cache was given to a network that keeps none: a causal VideoTransformer or VideoUNet does",
    "history": "a history was given to a network that reads no previous frames: a causal VideoUNet with previous does",
    "reference images": "reference images were given to a network that reads none: a DiT with reference_places does",
}
"""Kind of a condition that only some networks have -> why others refuse it."""


class Conditions(NamedTuple):
    """Checked conditions of one call; None where the network has none of a kind."""

    label: jax.Array | None
    text: Text | None
    size: ImageSize | None
    guidance: jax.Array | None = None
    second_time: jax.Array | None = None
    hint: Hint | None = None
    residuals: Residuals | None = None
    deep: DeepFeatures | None = None
    change: BlockChange | None = None
    cache: FrameCache | None = None
    history: History | None = None
    references: ReferenceImages | None = None

    def added(self, dtype: DType) -> jax.Array | None:
        """What joins the time, (b, a): the pooled text, then the size of the image. None where there is neither."""
        parts = [] if self.text is None or self.text.pooled is None else [jnp.asarray(self.text.pooled).astype(dtype)]
        if self.size is not None:
            parts.append(embedded_size(self.size, dtype).astype(dtype))
        return jnp.concatenate(parts, -1) if parts else None


def embedded_size(size: ImageSize, dtype: DType) -> Float[Array, "b e"]:
    """Return the numbers as sinusoidal embeddings, one after the other, computed in at least float32.

    There are six numbers, or five with a score.
    """
    last = size.target if size.score is None else jnp.asarray(size.score)[:, None]
    numbers = jnp.concatenate([jnp.asarray(part) for part in (size.original, size.crop, last)], -1)
    numbers = numbers.astype(jnp.promote_types(dtype, jnp.float32))
    return sinusoidal(numbers.reshape(-1), FREQUENCIES).reshape(numbers.shape[0], -1)


def checked_conditions(
    condition: tuple[Condition, ...],
    batch: int,
    num_classes: int | None,
    text_channels: int | None,
    pooled_channels: int | None,
    wants_size: bool | str,
    wants_guidance: bool = False,
    wants_second_time: bool = False,
    *,
    takes: tuple[str, ...] = (),
) -> Conditions:
    """Sort the conditions by kind, and check them against the fields of the network.

    Args:
        condition: in any order, at most one of a kind.
        batch: the number of samples.
        num_classes: of labels, None for none.
        text_channels: of the tokens of a text, None for no text.
        pooled_channels: of its pooled encoding, None for none.
        wants_size: whether there is a size of the image; "score" for one with a score in place of the target.
        wants_guidance: whether there is a guidance scale.
        wants_second_time: whether there is a second time.
        takes: what else the network may be told, of REFUSALS. Whether that fits is not checked here.

    Raises:
        TypeError: for a condition of another type, and as `checked_label`, `checked_text`, `checked_scale` and
            `checked_end_time` do.
        ValueError: for two of one kind, for what the network does not take, and as `checked_label`, `checked_text`,
            `checked_size`, `checked_scale` and `checked_end_time` do.
    """
    by_kind: dict[str, PyTree] = {}
    for value in condition:
        if value is None:
            continue
        kind = _kind(value)
        if kind in by_kind:
            raise ValueError(f"two conditions are each a {kind}: a network takes one of a kind")
        by_kind[kind] = value
    for kind, refusal in REFUSALS.items():
        if kind in by_kind and kind not in takes:
            raise ValueError(refusal)
    return Conditions(
        checked_label(by_kind.get("label"), num_classes, batch),
        condition_checks.checked_text(by_kind.get("text"), text_channels, pooled_channels, batch),
        condition_checks.checked_size(by_kind.get("size"), wants_size, batch),
        condition_checks.checked_scale(by_kind.get("guidance scale"), wants_guidance, batch),
        condition_checks.checked_end_time(by_kind.get("second time"), wants_second_time, batch),
        by_kind.get("hint"),
        by_kind.get("residuals"),
        by_kind.get("deep features"),
        by_kind.get("block change"),
        by_kind.get("frame cache"),
        by_kind.get("history"),
        by_kind.get("reference images"),
    )


def check_fields(text_channels: int | None, pooled_channels: int | None) -> None:
    """Raise ValueError for channels below 1, and for those of a pooled encoding where there is no text."""
    for name, value in (("text_channels", text_channels), ("pooled_channels", pooled_channels)):
        if value is not None:
            checks.integer(name, value, 1)
    if pooled_channels is not None and text_channels is None:
        raise ValueError(
            f"pooled_channels = {pooled_channels} is of a text, and the network has none: give its text_channels too"
        )


def _kind(value: object) -> str:
    for record, kind in KINDS.items():
        if isinstance(value, record):
            return kind
    if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float):
        raise TypeError(
            "a condition is a label, a networks.Text, an ImageSize, a GuidanceScale, an EndTime or a networks.Hint, "
            f"got {type(value).__name__}"
        )
    if jnp.result_type(value) == jnp.bool_:
        raise TypeError(
            "a label must hold integers, got booleans; NO_TEXT takes the place of a Text in with_condition, or as a "
            "null"
        )
    if np.ndim(value) > 1:
        raise ValueError(
            f"a condition has shape {np.shape(value)}: a label has shape () or (b,), and a text comes as "
            "networks.Text(tokens, mask)"
        )
    return "label"
