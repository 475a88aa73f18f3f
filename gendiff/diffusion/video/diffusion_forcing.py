"""Diffusion forcing (Chen et al., 2024): a network of clips learns from frames that have a level each."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.types import NO_LABEL, Condition, Loss, Metrics, Params
from gendiff.diffusion import immiscible, objectives, process, weighting
from gendiff.diffusion.objectives import DenoisingLoss
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Level, Predict, Prediction


@records.record
class DiffusionForcing(DenoisingLoss):
    """The loss of `diffusion_forcing`."""

    shared: float = records.static(default=0.0)

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch of clips."""
        clean, condition = objectives.parts_of(batch)
        if clean.ndim < 3:
            raise ValueError(
                f"batch.clean has shape {clean.shape}: clips are (batch, frames, …), such as (b, f, h, w, c)"
            )
        b, f = clean.shape[:2]
        level_key, noise_key, drop_key, network_key = jax.random.split(key, 4)
        level = self._levels(level_key, b, f)
        noise = self.noise(noise_key, clean)
        frames, noise = (values.reshape(b * f, *clean.shape[2:]) for values in (clean, noise))
        x = process.add_noise(frames, noise, level)
        condition = objectives.dropped(drop_key, condition, b, self.drop_condition, self.null)
        by_frame = records.replace(self, predict=_OfFrames(self.predict, f))
        return by_frame.error(params, network_key, x, level, condition, Prediction(frames, noise))

    def _levels(self, key: jax.Array, b: int, f: int) -> Level:
        """Those of all frames (b · f,), clip by clip."""
        draw_key, order_key, shared_key = jax.random.split(key, 3)
        # stratified levels come in order, and frames must not
        order = jax.random.permutation(order_key, b * f).reshape(b, f)
        if self.shared:
            order = jnp.where(jax.random.bernoulli(shared_key, self.shared, (b, 1)), order[:, :1], order)
        return self.levels(draw_key, self.schedule, b * f)[order.ravel()]


@records.record
class _OfFrames:
    """A network of clips as one of frames (b · f, …) with a time each."""

    predict: Predict = records.static()
    frames: int = records.static()

    def __call__(self, params: Params, x: Array, t: Array, *condition: Condition, **chance: jax.Array) -> Array:
        clips = x.reshape(-1, self.frames, *x.shape[1:])
        output = self.predict(params, clips, t.reshape(clips.shape[:2]), *condition, **chance)
        return output.reshape(-1, *output.shape[2:])


def diffusion_forcing(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    weight: weighting.Weight | None = None,
    levels: weighting.LevelSampler | None = None,
    drop_condition: float | tuple[float, ...] = 0.1,
    null: Condition = NO_LABEL,
    stochastic: bool | None = None,
    shared: float = 0.0,
) -> Loss:
    """The denoising loss of clips whose frames have independent levels, so that some may be clean when sampling.

    It is the mean over frames of weight(level) · mean squared error of the network's target. `known_frames` and
    `rollout` draw with such a network.

    Args:
        predict: the network, (params, x, t, *condition) -> output, with x (b, f, …) and t (b, f), such as
            `networks.VideoTransformer` and `networks.VideoUNet`.
        schedule: as in `objectives.denoising`.
        parameterization: as there.
        weight: as there, of each frame.
        levels: how the levels of all frames are drawn; default `weighting.uniform_levels()`. Those of one clip are
            independent.
        drop_condition: as there, of whole clips.
        null: as there.
        stochastic: as there.
        shared: share of clips in [0, 1] whose frames have one level, as when whole clips are drawn.

    Returns:
        The loss (params, key, batch) -> (scalar, metrics), with the unweighted error as metric `mse`. The batch is a
        `diffusion.Batch` of clips (b, f, …).

    Raises:
        ValueError: for a share outside [0, 1], for samples without an axis of frames, and as `objectives.denoising`
            does.

    References:
        Chen et al., 2024 (diffusion forcing), Alg. 1 (from memory).
    """
    checks.in_range("shared", shared, 0.0, 1.0)
    objectives.refuse_lost_signal(parameterization, schedule)
    return DiffusionForcing(
        *objectives.path_fields(predict, schedule, parameterization, weight, levels, stochastic),
        objectives.checked_shares(drop_condition, null),
        null,
        immiscible.IndependentNoise(),
        float(shared),
    )
