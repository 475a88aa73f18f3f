"""At which levels each scheduler of diffusers asks its network and steps, and what the network is shown and answers."""

import dataclasses
import types
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


@dataclasses.dataclass(frozen=True)
class View:
    """visited: the levels of the calls of `step` and of the end, in the scale of the scheduler's sample.

    ends: the entries of those between which it steps. scaled: that scale is clean + ratio · noise, and the network sees
        x over its length.
    network: the parameterization, where no configuration names it. step: x after a call.
    """

    visited: Callable[[Any], Level]
    ends: Callable[[Any], Any] = lambda scheduler: slice(None)
    scaled: bool = False
    network: Any = None
    step: Callable[..., Any] = lambda scheduler, call, answer, x, **more: (
        scheduler.step(answer, scheduler.timesteps[call], x, **more).prev_sample
    )


def preserving(alpha_bar: Any, t: Any = 0.0) -> Level:
    """The levels of a chain with those alpha²."""
    alpha_bar = np.asarray(alpha_bar, np.float64)
    return Level(
        np.broadcast_to(np.asarray(t, np.float64), alpha_bar.shape), np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    )


def exploding(sigmas: Any) -> Level:
    """sigmas are sigma where alpha = 1."""
    sigmas = np.asarray(sigmas, np.float64)
    return Level(sigmas, np.ones_like(sigmas), sigmas)


def straight(sigmas: Any) -> Level:
    """sigmas are sigma where alpha = 1 - sigma."""
    sigmas = np.asarray(sigmas, np.float64)
    return Level(1000 * sigmas, 1 - sigmas, sigmas)


def ratio(scheduler: Any) -> Level:
    """Its sigmas are sigma/alpha of a chain, or sigma of the straight path where the configuration says so."""
    if getattr(scheduler.config, "use_flow_sigmas", False):
        return straight(scheduler.sigmas)
    sigmas = np.asarray(scheduler.sigmas, np.float64)
    return preserving(1 / (1 + sigmas**2), sigmas)


def entries(scheduler: Any) -> Level:
    """Of its table, and the end that its configuration chooses."""
    t, first = scheduler.timesteps.numpy().astype(int), scheduler.alphas_cumprod[0]
    last = (
        first
        if hasattr(scheduler.config, "original_inference_steps")
        else getattr(scheduler, "final_alpha_cumprod", 1.0)
    )
    return preserving(np.append(scheduler.alphas_cumprod[t].numpy(), float(last)), np.append(t, -1))


def wuerstchen(scheduler: Any) -> Level:
    return preserving(scheduler._alpha_cumprod(scheduler.timesteps, "cpu").numpy(), scheduler.timesteps.numpy())


def score_sde(scheduler: Any) -> Level:
    scheduler.set_sigmas(len(scheduler.timesteps), sampling_eps=0.0)
    return exploding(np.append(scheduler.discrete_sigmas.numpy()[::-1], 0.0))


def with_middles(scheduler: Any) -> Level:
    """Its sigmas, where every second call is asked between two of them."""
    sigmas = scheduler.sigmas.numpy()
    return exploding(np.where(np.arange(len(sigmas)) % 2, np.sqrt(sigmas * np.roll(sigmas, 1)), sigmas))


def without_repeats(scheduler: Any) -> np.ndarray:
    """The entries of a list that has every level twice but the ends."""
    return np.append(0, np.arange(1, len(scheduler.sigmas), 2))[: scheduler.num_inference_steps + 1]


def without_start(scheduler: Any) -> np.ndarray:
    """The entries without those that PNDM's start asks at besides."""
    timesteps = scheduler.timesteps.tolist()
    return np.array([*(timesteps.index(t) for t in scheduler._timesteps[::-1]), len(timesteps)])


def named(scheduler: Any) -> Any:
    """The parameterization that its configuration names. What the EDM schedulers call "v_prediction" is their output
    negated.
    """
    kind = scheduler.config.prediction_type
    if "sigma_data" not in scheduler.config:
        return TARGETS[kind]
    edm = parameterization.edm(scheduler.config.sigma_data)
    return edm if kind == "epsilon" else negative(edm)


def negative(positive: Any) -> Any:
    """A parameterization whose output has the other sign."""
    return types.SimpleNamespace(scale_in=positive.scale_in, target=lambda *prediction: -positive.target(*prediction))


SCORE = types.SimpleNamespace(scale_in=lambda x, level: x, target=lambda clean, noise, level: -noise / level.sigma)


def cogvideox_step(scheduler: Any, call: int, answer: Any, x: Any) -> Any:
    """It is handed its history, and draws twice, of which the second counts."""
    old, before = (scheduler.old, scheduler.timesteps[call - 1]) if call else (None, None)
    x, scheduler.old = scheduler.step(answer, old, scheduler.timesteps[call], before, x, return_dict=False)
    return x


def score_sde_step(scheduler: Any, call: int, answer: Any, x: Any) -> Any:
    """The last step adds no noise."""
    result = scheduler.step_pred(answer, scheduler.timesteps[call], x)
    return result.prev_sample if call < len(scheduler.timesteps) - 1 else result.prev_sample_mean


def unclip_step(scheduler: Any, call: int, answer: Any, x: Any) -> Any:
    following = [*scheduler.timesteps.tolist(), None][call + 1]
    return scheduler.step(answer, scheduler.timesteps[call], x, prev_timestep=following).prev_sample


def wuerstchen_step(scheduler: Any, call: int, answer: Any, x: Any) -> Any:
    return scheduler.step(answer, scheduler.timesteps[call].reshape(1), x).prev_sample


FLOW = View(lambda scheduler: straight(scheduler.sigmas), network=parameterization.flow())
EXPLODING = View(lambda scheduler: exploding(scheduler.sigmas))
SCALED = dataclasses.replace(EXPLODING, scaled=True)
VIEWS = {
    **dict.fromkeys(("DDIM", "DDIMParallel", "CogVideoXDDIM", "DDPM", "DDPMParallel", "TCD"), View(entries)),
    "CogVideoXDPM": View(entries, step=cogvideox_step),
    "UnCLIP": View(entries, step=unclip_step),
    "PNDM": View(entries, ends=without_start),
    "DDPMWuerstchen": View(wuerstchen, network=parameterization.noise(), step=wuerstchen_step),
    "ScoreSdeVe": View(score_sde, network=SCORE, step=score_sde_step),
    "IPNDM": View(
        lambda scheduler: Level(scheduler.betas.numpy(), scheduler.alphas.numpy(), scheduler.betas.numpy()),
        network=parameterization.velocity(),
    ),
    **dict.fromkeys(
        ("DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "SASolver"), View(ratio)
    ),
    **dict.fromkeys(("EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete"), SCALED),
    "HeunDiscrete": dataclasses.replace(SCALED, ends=without_repeats),
    **dict.fromkeys(("KDPM2Discrete", "DPMSolverSDE"), View(with_middles, without_repeats, scaled=True)),
    **dict.fromkeys(("EDMEuler", "EDMDPMSolverMultistep", "CosineDPMSolverMultistep"), EXPLODING),
    **dict.fromkeys(("FlowMatchEulerDiscrete", "FlowMapEulerDiscrete", "LTXEulerAncestralRF"), FLOW),
    "FlowMatchHeunDiscrete": dataclasses.replace(FLOW, ends=without_repeats),
    "MiniMaxH3": dataclasses.replace(FLOW, network=negative(parameterization.flow())),
}
