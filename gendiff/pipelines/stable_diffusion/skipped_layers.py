"""Guidance away from what the same network answers without some of its blocks."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff import networks
from gendiff.core import arrays, checks, records
from gendiff.core.types import Scalar
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.guidance.at_levels import at_levels
from gendiff.diffusion.guidance.classifier_free import combined
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.guidance.strength import Strength
from gendiff.diffusion.types import Denoiser, Level, Prediction
from gendiff.networks import PureFunction
from gendiff.pipelines.stable_diffusion.latent_pipeline import LatentPipeline

LAYERS = (7, 8, 9)
"""Of Stable Diffusion 3.5 medium."""


def skipping(
    pipeline: LatentPipeline,
    layers: Sequence[int] = LAYERS,
    scale: float = 2.8,
    *,
    start: float = 0.01,
    stop: float = 0.2,
) -> LatentPipeline:
    """Add skip-layer guidance: in some steps, scale (c - w) joins the guided prediction, w that without some blocks.

    Also known as: skip layer guidance (SLG), skip_guidance_layers.

    It costs one more evaluation in these steps. Where a call has nothing to lead away from, nothing is added, as in
    diffusers.

    Args:
        pipeline: whose network is a DiT.
        layers: numbers of the blocks that are left out, from 0; the default is that of Stable Diffusion 3.5 medium.
        scale: at least 0.
        start: share of the steps before which nothing is added.
        stop: share of the steps from which on nothing is added.

    Raises:
        TypeError: for a pipeline of another network.
        ValueError: for a block that there is not, and numbers out of range.

    References:
        The code of Stable Diffusion 3.5 (from memory).
    """
    predict = pipeline.predict
    if not isinstance(predict, PureFunction) or not isinstance(predict.module, networks.DiT):
        raise TypeError("skip-layer guidance leaves out blocks of a DiT, and this pipeline has another network")
    depth = predict.module.depth + predict.module.single_depth
    if not layers:
        raise ValueError("layers is empty: name at least one block")
    for number in layers:
        checks.integer("layers", number, 0, depth - 1)
    checks.in_range("scale", scale, 0.0, float("inf"), open_high=True)
    for name, share in (("start", start), ("stop", stop)):
        checks.in_range(name, share, 0.0, 1.0)
    steps = len(pipeline.levels) - 1
    step = np.arange(steps)
    scales = np.where((step > steps * start) & (step < steps * stop), scale, 0.0).astype(np.float32)
    weaker = networks.pure(predict.module.clone(skipped=tuple(layers)))
    added = Strength(at_levels(pipeline.levels, scales))

    def guide(conditional: Denoiser, unconditional: Denoiser, strength: Scalar) -> Denoiser:
        if not isinstance(conditional, NetworkDenoiser):
            raise TypeError(f"skip-layer guidance needs a denoiser of a network, got {type(conditional).__name__}")
        pair = JointCall.checked(conditional, unconditional, batched=True)
        without = records.replace(conditional, predict=weaker)
        return _SkippedLayers(pair, without, Strength.checked("scale", strength), added)

    return records.replace(pipeline, guide=guide)


@records.record
class _SkippedLayers:
    pair: JointCall
    weaker: Denoiser
    strength: Strength
    added: Strength

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        conditional, unconditional = self.pair(x, level)
        guided = combined(unconditional, conditional, self.strength.at(level))
        weight = arrays.expand(self.added.at(level), guided.clean)

        def away() -> tuple[jax.Array, jax.Array]:
            weaker = self.weaker(x, level)
            clean = guided.clean + weight * (conditional.clean - weaker.clean)
            return clean, guided.noise + weight * (conditional.noise - weaker.noise)

        clean, noise = jax.lax.cond(jnp.any(weight != 0), away, lambda: (guided.clean, guided.noise))
        return records.replace(guided, clean=clean, noise=noise)
