"""Euler's method with fresh noise in every step."""

from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Scalar
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction


def euler_ancestral_step(
    x: Float[ArrayLike, "b *shape"],
    prediction: Prediction,
    level: Level,
    cleaner: Level,
    *,
    eta: Scalar,
    noise: Float[ArrayLike, "..."],
) -> Float[Array, "b *shape"]:
    """Euler's step to sigma' sqrt(1 - eta² (1 - q²)), below the aim, and fresh noise up to it.

    The split is that of the ancestral sampler for eta = 1. Equal to `ancestral.ddim_step` with the same eta wherever
    x = alpha * clean + sigma * noise holds.

    Args:
        x: (b, …) at `level`.
        prediction: of the denoiser at x.
        level: where the step begins.
        cleaner: where it ends.
        eta: () in [0, 1].
        noise: standard normal (b, …).

    References:
        Song et al., 2021, Eq. 16; Song et al., 2021b, App. F.
    """
    checks.same_shape("x", x, "noise", noise)
    predicted, fresh = ancestral.split_noise(level, cleaner, eta)
    return (
        runge_kutta.euler_step(x, prediction, level, records.replace(cleaner, sigma=predicted))
        + arrays.expand(fresh, x) * noise
    )


@records.record
class EulerAncestral(Sampler):
    """Euler's method with fresh noise in every step. Built by `euler_ancestral`."""

    eta: Scalar

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        prediction = denoise(state.x, level)
        if ancestral.is_zero(self.eta):
            return State(runge_kutta.euler_step(state.x, prediction, level, cleaner))
        return State(euler_ancestral_step(state.x, prediction, level, cleaner, eta=self.eta, noise=noise(state.x)))


def euler_ancestral(eta: Scalar = 1.0) -> EulerAncestral:
    """Euler's method with fresh noise: eta = 0 is `euler`, bit for bit, eta = 1 draws what the reverse chain does.

    Also known as: Euler a (k-diffusion).

    It differs from `ddim(eta)` only for denoisers that break x = alpha * clean + sigma * noise. One evaluation per
    step.

    Args:
        eta: () in [0, 1], data under jit.

    Raises:
        ValueError: for a concrete eta outside [0, 1].
    """
    checks.in_range("eta", eta, 0.0, 1.0)
    return EulerAncestral(eta)
