"""Clips of which some frames are known: a picture that begins to move, and the frames between two pictures."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Condition, Params
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.types import Level, Prediction


@records.record
class KnownFrames:
    """A denoiser of clips of which some frames are known. Built by `known_frames`."""

    denoise: NetworkDenoiser
    clip: ArrayLike
    known: ArrayLike
    clean: Level

    def __call__(self, x: Float[Array, "b f *shape"], level: Level) -> Prediction:
        """The prediction of each clip of x (b, f, …) at a level of () or (b,)."""
        clip = jnp.asarray(self.clip).astype(x.dtype)
        checks.same_shape("clip", clip, "x", x)
        known = jnp.broadcast_to(jnp.asarray(self.known), x.shape[:2])
        held = known.reshape(*known.shape, *[1] * (x.ndim - 2))
        scaled, clean_t = self.denoise.parameterization.scale_in(clip, self.clean), self.clean.t_for(x)[:, None]

        def predict_known(params: Params, x: Array, t: Array, *condition: Condition) -> Array:
            return self.denoise.predict(
                params, jnp.where(held, scaled, x), jnp.where(known, clean_t, t[:, None]), *condition
            )

        prediction = records.replace(self.denoise, predict=predict_known)(x, level)
        noise = arrays.safe_divide(x - arrays.expand(level.alpha, x) * clip, arrays.expand(level.sigma, x))
        return records.replace(
            prediction, clean=jnp.where(held, clip, prediction.clean), noise=jnp.where(held, noise, prediction.noise)
        )

    def with_condition(self, *condition: Condition) -> "KnownFrames":
        """The same frames under another condition (see `NetworkDenoiser.with_condition`)."""
        return records.replace(self, denoise=self.denoise.with_condition(*condition))


def known_frames(
    denoise: NetworkDenoiser, clip: Float[ArrayLike, "b f *shape"], known: Bool[ArrayLike, "..."], clean: Level
) -> KnownFrames:
    """A denoiser that draws the frames that are not known, given those that are.

    With the first frame known it makes a clip of a picture, with the first and the last one it finds the frames
    between. The network sees known frames as they are, at every level, and is told that they are clean. Their
    prediction is the clip itself, and x = alpha * clean + sigma * noise holds. On a grid that ends clean, a sampler
    whose last step answers the clean prediction, such as `samplers.ddim()`, returns known frames unchanged.

    Args:
        denoise: from `from_network`, with a network that takes a time of each frame, t (b, f), and has learned from
            `diffusion_forcing`.
        clip: (b, f, …) of which frames that are not known do not matter, if finite.
        known: (f,) or (b, f) booleans.
        clean: () the level that the network is told of known frames: `schedule.clean`, or `schedule.cleanest` for one
            that was never told anything cleaner.

    Raises:
        TypeError: for a denoiser that is not of a network, and for a `known` that holds no booleans.
        ValueError: for a `known` of another shape, for pixels that are not scaled, and, when called, for a clip of
            another shape than x.

    References:
        Chen et al., 2024 (diffusion forcing), section 3.3 (from memory).
    """
    if not isinstance(denoise, NetworkDenoiser):
        raise TypeError(
            f"denoise must be made by denoiser.from_network, got {type(denoise).__name__}: guide afterwards"
        )
    checks.floating("clip", clip)
    checks.unscaled_pixels("clip", clip)
    if jnp.result_type(known) != jnp.bool_:
        raise TypeError(f"known must hold booleans, got {jnp.result_type(known)}: True where a frame is known")
    if np.shape(known) not in (clip.shape[1:2], clip.shape[:2]):
        raise ValueError(
            f"known has shape {np.shape(known)}: {clip.shape[1:2]}, or {clip.shape[:2]} for each clip its own, is "
            "needed"
        )
    return KnownFrames(denoise, jnp.asarray(clip), jnp.asarray(known), clean)
