"""At which levels each scheduler of diffusers asks its network and steps, and what the network is shown and answers.

The names of schedulers go without "Scheduler" here.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gendiff.diffusion import parameterization
from gendiff.diffusion.types import Level

TARGETS = {
    "epsilon": parameterization.noise(),
    "sample": parameterization.clean(),
    "v_prediction": parameterization.velocity(),
    "flow_prediction": parameterization.flow(),
}


def by_name(scheduler: Any) -> Any:
    """The parameterization that a scheduler's configuration names."""
    return TARGETS[scheduler.config.prediction_type]


@dataclasses.dataclass(frozen=True)
class View:
    """at: the level of a call of `step`. levels: those of the whole grid. Both in the scale of the scheduler's sample.

    scaled: that scale is clean + ratio · noise, and the network sees x over its length. network: the parameterization. time: t as `step`
    wants it. more: calls beyond one a step.
    """

    at: Callable[[Any, int, Any], Level]
    levels: Callable[[Any], Level]
    scaled: bool = False
    network: Callable[[Any], Any] = by_name
    time: Callable[[Any], Any] = lambda t: t
    more: int = 0


@dataclasses.dataclass(frozen=True)
class Negative:
    """A parameterization whose output has the other sign."""

    given: Any

    def scale_in(self, x: Any, level: Level) -> Any:
        return self.given.scale_in(x, level)

    def target(self, clean: Any, noise: Any, level: Level) -> Any:
        return -self.given.target(clean, noise, level)


def preserving(alpha_bar: Any, t: Any = 0.0) -> Level:
    """The level of a chain with that alpha²."""
    alpha_bar = np.asarray(alpha_bar, np.float64)
    return Level(np.broadcast_to(np.asarray(t, np.float64), alpha_bar.shape), np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar))


def ratio(scheduler: Any, sigmas: Any) -> Level:
    """sigmas are sigma/alpha of a chain, or sigma of the straight path where the configuration says so."""
    if getattr(scheduler.config, "use_flow_sigmas", False):
        return straight(scheduler, sigmas)
    sigmas = np.asarray(sigmas, np.float64)
    return preserving(1 / (1 + sigmas**2), sigmas)


def exploding(scheduler: Any, sigmas: Any) -> Level:
    """sigmas are sigma where alpha = 1."""
    sigmas = np.asarray(sigmas, np.float64)
    return Level(sigmas, np.ones_like(sigmas), sigmas)


def straight(scheduler: Any, sigmas: Any) -> Level:
    """sigmas are sigma where alpha = 1 - sigma."""
    sigmas = np.asarray(sigmas, np.float64)
    return Level(1000 * sigmas, 1 - sigmas, sigmas)


Form = Callable[[Any, Any], Level]


def _present(form: Form) -> Callable[[Any, int, Any], Level]:
    return lambda scheduler, call, t: form(scheduler, scheduler.sigmas[call])


def _once(form: Form, **more: Any) -> View:
    return View(_present(form), lambda scheduler: form(scheduler, scheduler.sigmas), **more)


def _without_repeats(scheduler: Any) -> np.ndarray:
    """Of a list that has every level twice but the ends."""
    return np.append(scheduler.sigmas[:1], scheduler.sigmas[1::2])[: scheduler.num_inference_steps + 1]


def _twice(form: Form, **more: Any) -> View:
    return View(_present(form), lambda scheduler: form(scheduler, _without_repeats(scheduler)), **more)


def _with_middle(middle: Callable[[Any], Any]) -> View:
    """Every second call is asked between two levels."""

    def at(scheduler: Any, call: int, t: Any) -> Level:
        return exploding(scheduler, scheduler.sigmas[call] if call % 2 == 0 else middle(scheduler))

    return View(at, lambda scheduler: exploding(scheduler, _without_repeats(scheduler)), scaled=True)


def _entry(scheduler: Any, call: int, t: Any) -> Level:
    return preserving(scheduler.alphas_cumprod[int(t)].numpy(), int(t))


def _entries(last: Callable[[Any], Any], timesteps: Callable[[Any], Any] = lambda scheduler: scheduler.timesteps.numpy()) -> Any:
    def levels(scheduler: Any) -> Level:
        t = timesteps(scheduler)
        return preserving(np.append(scheduler.alphas_cumprod[t].numpy(), float(last(scheduler))), np.append(t, -1))

    return levels


def _final(scheduler: Any) -> Any:
    return scheduler.final_alpha_cumprod


def _plms_timesteps(scheduler: Any) -> np.ndarray:
    """Without those that the start asks at besides."""
    return scheduler._timesteps[::-1].astype(int)


def _edm(scheduler: Any) -> Any:
    """What they call "v_prediction" is the same output with the other sign."""
    given = parameterization.edm(scheduler.config.sigma_data)
    return given if scheduler.config.prediction_type == "epsilon" else Negative(given)


def _alpha_bar(scheduler: Any, t: Any) -> np.ndarray:
    return scheduler._alpha_cumprod(t, "cpu").numpy()


ENTRIES, ONE = View(_entry, _entries(_final)), View(_entry, _entries(lambda scheduler: 1.0))
RATIO, SCALED, EDM = _once(ratio), _once(exploding, scaled=True), _once(exploding, network=_edm)
FLOW = _once(straight, network=lambda scheduler: parameterization.flow())

VIEWS = {
    **dict.fromkeys(("DDIM", "DDIMParallel", "CogVideoXDDIM"), ENTRIES),
    **dict.fromkeys(("DDPM", "DDPMParallel", "UnCLIP"), ONE),
    "DDPMWuerstchen": View(
        lambda scheduler, call, t: preserving(_alpha_bar(scheduler, t)[0], float(t)),
        lambda scheduler: preserving(_alpha_bar(scheduler, scheduler.timesteps), scheduler.timesteps.numpy()),
        network=lambda scheduler: parameterization.noise(),
        time=lambda t: t.reshape(1),
    ),
    "TCD": View(_entry, _entries(lambda scheduler: scheduler.alphas_cumprod[0])),
    "PNDM": View(_entry, _entries(_final, _plms_timesteps), more=1),
    "IPNDM": View(
        lambda scheduler, call, t: Level(float(t), float(scheduler.alphas[call]), float(scheduler.betas[call])),
        lambda scheduler: Level(scheduler.betas.numpy(), scheduler.alphas.numpy(), scheduler.betas.numpy()),
        network=lambda scheduler: parameterization.velocity(),
    ),
    **dict.fromkeys(("DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "SASolver"), RATIO),
    **dict.fromkeys(("EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete"), SCALED),
    "HeunDiscrete": _twice(exploding, scaled=True),
    "KDPM2Discrete": _with_middle(lambda scheduler: scheduler.sigmas_interpol[scheduler.step_index]),
    "DPMSolverSDE": _with_middle(lambda scheduler: scheduler.mid_point_sigma),
    **dict.fromkeys(("EDMEuler", "EDMDPMSolverMultistep", "CosineDPMSolverMultistep"), EDM),
    **dict.fromkeys(("FlowMatchEulerDiscrete", "FlowMapEulerDiscrete", "LTXEulerAncestralRF"), FLOW),
    "FlowMatchHeunDiscrete": _twice(straight, network=lambda scheduler: parameterization.flow()),
    "MiniMaxH3": _once(straight, network=lambda scheduler: Negative(parameterization.flow())),
}
