"""ControlNet: a copy of the way down of a U-Net that reads a picture, and tells the U-Net what to add."""

import dataclasses
import itertools
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks
from gendiff.core.condition_records import Hint
from gendiff.core.renamed import renamed
from gendiff.core.types import ArrayLike, Params
from gendiff.networks import fast
from gendiff.networks.images.unet import UNet
from gendiff.networks.inputs.condition_checks import checked_hint
from gendiff.networks.inputs.conditioning import Condition
from gendiff.networks.inputs.control import Residuals
from gendiff.networks.layers import Compute, dense
from gendiff.networks.layers.convolution import Convolution
from gendiff.networks.module import PureFunction

PARTS = ("unet", "control")
"""Names of the parameters of a `Controlled` network."""


class HintEncoder(nn.Module):
    """Convolutions from a picture to the size and channels of what a U-Net begins with; it starts at 0.

    Args:
        channels: of each size, the picture's own first; each halves the size of the one before.
        features: channels of the output.
        compute: how to compute.

    References:
        Zhang et al., 2023, section 3.2 (from memory).
    """

    channels: tuple[int, ...]
    features: int
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Encode the picture."""
        y = fast.silu(Convolution(self.channels[0], compute=self.compute, name="input")(image))
        for number, (narrow, wide) in enumerate(itertools.pairwise(self.channels)):
            y = fast.silu(Convolution(narrow, compute=self.compute, name=f"block_{2 * number}")(y))
            y = fast.silu(Convolution(wide, stride=2, compute=self.compute, name=f"block_{2 * number + 1}")(y))
        return Convolution(self.features, zero=True, compute=self.compute, name="output")(y)


class ControlNet(UNet):
    """The way down and the middle of a U-Net, which begin with x and a `Hint`.

    Each of its maps goes through a layer that starts at 0.

    Its fields are those of the `UNet` that it controls, without `out_channels`, and two of its own. A fresh one tells
    the U-Net to add 0.

    Args:
        hint_channels: of the convolutions that read the hint, from its own size down to that of x. Each but the first
            halves the size, so that a hint is 2^(their number − 1) times as high and wide as x.
        pool: every pixel of a map is told the mean of all, as for hints that have no places, such as shuffled pictures.

    References:
        Zhang et al., 2023, section 3 (from memory).
    """

    hint_channels: tuple[int, ...] = (16, 32, 96, 256)
    pool: bool = False

    @nn.compact
    def __call__(  # type: ignore[override]  # it shares the fields and the way down of a U-Net, and answers something else
        self, x: Float[ArrayLike, "b h w c"], t: Shaped[ArrayLike, " b"], *condition: Condition
    ) -> Residuals:
        """Return what the U-Net adds, multiplied by the scale of the hint.

        Args:
            x: (b, h, w, c), as the U-Net is given it.
            t: (b,), likewise.
            *condition: a `Hint`, and the conditions of the U-Net.

        Raises:
            ValueError: for inputs or fields against the rules above, and as `UNet` does.
            TypeError: for inputs of the wrong type.
        """
        if self.out_channels is not None:
            raise ValueError(
                f"out_channels = {self.out_channels}: a ControlNet answers what a U-Net adds, so it has none"
            )
        if not self.hint_channels:
            raise ValueError("hint_channels = () has no convolution: give the channels of each size of the hint")
        for channels in self.hint_channels:
            checks.integer("hint_channels", channels, 1)
        conditions, compute = self._prepared(x, t, condition, ("hint",))
        hint = checked_hint(conditions.hint, x.shape, 2 ** (len(self.hint_channels) - 1))
        embedding = self._embedded(t, conditions, compute)
        y = Convolution(self.channels[0], compute=compute, name="input")(jnp.asarray(x).astype(compute.dtype))
        read = HintEncoder(self.hint_channels, self.channels[0], compute, name="hint")
        y, count = y + read(jnp.asarray(hint.image).astype(compute.dtype)), len(self.channels) * (self.blocks + 1)
        skips = self._down(y, embedding, conditions.text, compute, count)
        middle = self._middle(skips[-1], embedding, conditions.text, compute)
        additions = tuple(self._told(f"control_{number}", skip, compute) for number, skip in enumerate(skips))
        return Residuals(additions, self._told("control_middle", middle, compute)).scaled(hint.scale)

    def _told(self, name: str, y: jax.Array, compute: Compute) -> jax.Array:
        y = dense(y.shape[-1], compute, name, zero=True)(y)
        return jnp.broadcast_to(jnp.mean(y, (1, 2), keepdims=True), y.shape) if self.pool else y


@dataclasses.dataclass(frozen=True)
class Controlled:
    """(params, x, t, *condition) -> output: a U-Net with its ControlNet as one network. Built by `controlled`."""

    unet: PureFunction
    control: PureFunction

    @property
    def stochastic(self) -> bool:
        """Whether the network has random numbers when it gets a key."""
        return self.unet.stochastic

    def __call__(
        self,
        params: Mapping[str, Params],
        x: ArrayLike,
        t: ArrayLike,
        *condition: Condition,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Call both.

        Args:
            params: {"unet", "control"}: the parameters of each.
            x: (b, h, w, c).
            t: (b,).
            *condition: a `Hint`, and the conditions of the U-Net, which both are told.
            key: one key for dropout of the U-Net in training.

        Raises:
            ValueError: for other parts of the parameters, and as `ControlNet` and `UNet` do.
        """
        if set(params) != set(PARTS):
            raise ValueError(f"params has the parts {', '.join(sorted(params))}: {' and '.join(PARTS)} are needed")
        residuals = self.control(params["control"], x, t, *condition)
        others = (each for each in condition if not isinstance(each, Hint))
        output: jax.Array = self.unet(params["unet"], x, t, *others, residuals, key=key)
        return output


def controlled(unet: PureFunction, control: PureFunction) -> Controlled:
    """Join a U-Net and its ControlNet into one network, with a `Hint` among the conditions.

    `diffusion.from_network` takes the result as any network. The hint is a condition as others: guidance may take it
    away by scale = 0, and each sample has its own picture and scale.

    Args:
        unet: `networks.pure(unet)`.
        control: `networks.pure(control)` of a `ControlNet` of the same fields.

    Raises:
        TypeError: for other networks.
        ValueError: for ways down that differ.
    """
    for name, function, kind in (("unet", unet, UNet), ("control", control, ControlNet)):
        module = getattr(function, "module", None)
        if not isinstance(module, kind) or (kind is UNet and isinstance(module, ControlNet)):
            raise TypeError(f"{name} must be networks.pure of a {kind.__name__}, got {type(module).__name__}")
    for field in ("channels", "blocks"):
        value, other = getattr(unet.module, field), getattr(control.module, field)
        if value != other:
            raise ValueError(f"{field} = {value} of the U-Net and {other} of its ControlNet must be equal")
    return Controlled(unet, control)


def from_unet(params: Params, unet: Params) -> Params:
    """Return fresh parameters of a ControlNet with the way down and the middle of a U-Net, to start training.

    Args:
        params: of `networks.init(control, …)`.
        unet: parameters of the U-Net.

    Raises:
        ValueError: for a U-Net that has none of them, or one in another shape.

    References:
        Zhang et al., 2023, section 3.1, the trainable copy (from memory).
    """
    copied = {name: unet[name] for name in params if name in unet}
    if "input" not in copied:
        raise ValueError("the parameters of the U-Net have no input: pass those of networks.UNet")
    for name, part in copied.items():
        shapes, other = jax.tree.map(jnp.shape, params[name]), jax.tree.map(jnp.shape, part)
        if shapes != other:
            raise ValueError(
                f"{name} has the shapes {shapes} in the ControlNet and {other} in the U-Net: build both by the same "
                "fields"
            )
    return params | copied


__getattr__ = renamed("networks.controlnet", {"begun": ("networks.controlnet.from_unet", from_unet)})
