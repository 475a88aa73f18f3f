"""The sampler of two-time denoisers: shortcut models, MeanFlow and their like."""

from gendiff.core import records
from gendiff.core.types import Count
from gendiff.diffusion.distillation.two_times import TwoTimeDenoiser
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level


@records.record
class Jump(Sampler):
    """One evaluation per step, told where the step ends. Built by `jump`."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        if not isinstance(denoise, TwoTimeDenoiser):
            raise TypeError(
                "jump() draws with a denoiser of two times, such as two_times.from_network(…), and got "
                f"{type(denoise).__name__}: use samplers.ddim() for one that is told a single time"
            )
        return State(ancestral.ddim_step(denoise(state.x, level, cleaner), level, cleaner))


def jump() -> Jump:
    """Steps of any length by a `two_times.TwoTimeDenoiser`: x' = alpha' clean + sigma' noise of its prediction.

    It draws no noise. It does not draw with a guided denoiser, as the rules of guidance are for ordinary ones: train
    the guidance in. On `schedules.edm()` the clean level has the t of the least noise: end grids there, as by
    `grids.karras(schedule, n, end="first")`.

    Raises:
        TypeError: when it draws, for a denoiser of one time.

    References:
        Frans et al., 2024, Alg. 2; Geng et al., 2025, Alg. 2 and Eq. 12 (from memory).
    """
    return Jump()
