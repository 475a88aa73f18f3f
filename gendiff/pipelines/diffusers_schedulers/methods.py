"""The sampler of each class: by its published formula, and as diffusers steps."""

from collections.abc import Callable, Mapping

from gendiff import diffusion
from gendiff.core import records
from gendiff.diffusion import parameterization, samplers
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.samplers import exponential_integrators
from gendiff.diffusion.samplers.deis import VARIABLES
from gendiff.diffusion.samplers.dpm_solver_multistep import Multistep
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.pipelines.diffusers_schedulers import configurations as names
from gendiff.pipelines.diffusers_schedulers import shipped_spacings
from gendiff.pipelines.diffusers_schedulers.configurations import Configuration
from gendiff.pipelines.diffusers_schedulers.shipped_steps import EvenSteps, Pairs, Plms, RatioHeun

Make = Callable[[Configuration, Schedule, int], Sampler]
"""(configuration, chain, steps) -> sampler."""

FEW = 15
"""Below this number of steps, the multistep scheduler of diffusers heeds lower_order_final."""
KINDS: Mapping[str, Parameterization] = {
    "epsilon": parameterization.noise(),
    "sample": parameterization.clean(),
    "v_prediction": parameterization.velocity(),
    "flow_prediction": parameterization.flow(),
}
"""What a network answers, by prediction_type."""


def answer(configuration: Configuration) -> Parameterization:
    """What the network answers."""
    return KINDS[configuration.fields.get("prediction_type", "flow_prediction")]


def sampler(configuration: Configuration, chain: Schedule, steps: int, like_diffusers: bool) -> Sampler:
    """The sampler of a configuration for so many steps."""
    return (AS_SHIPPED if like_diffusers else METHODS)[configuration.name](configuration, chain, steps)


def _pndm(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    return samplers.pndm() if configuration.fields["skip_prk_steps"] else samplers.pndm(chain)


def _ddpm(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    return samplers.ddpm("large" if configuration.fields["variance_type"] == "fixed_large" else "small")


def _multistep(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    fields = configuration.fields
    return _solver(configuration, fields["lower_order_final"] or fields["euler_at_final"], "exact")


def _single(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    return samplers.dpm_solver_single(chain, configuration.fields["solver_order"], eta=_eta(configuration))


def _unipc(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    fields = configuration.fields
    return samplers.unipc(
        fields["solver_order"], variant=fields["solver_type"], lower_order_final=fields["lower_order_final"]
    )


def _lcm(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    return diffusion.distillation.consistency(configuration.fields["timestep_scaling"])


def _flow(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    return diffusion.distillation.consistency() if configuration.fields["stochastic_sampling"] else samplers.euler()


def _even_ddim(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    return EvenSteps(samplers.ddim(), chain, shipped_spacings.gap(configuration, steps), configuration.ends_clean)


def _plms(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    if not configuration.fields["skip_prk_steps"]:
        return samplers.pndm(chain)
    return Plms(chain, answer(configuration), shipped_spacings.gap(configuration, steps), configuration.ends_clean)


def _shipped_multistep(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    fields = configuration.fields
    lower = (fields["lower_order_final"] and steps < FEW) or (fields["euler_at_final"] and not configuration.ends_clean)
    return _solver(configuration, lower, "published")


def _shipped_single(configuration: Configuration, chain: Schedule, steps: int) -> Sampler:
    fields = configuration.fields
    if fields["solver_order"] == 1:
        return samplers.ddim()
    return Pairs(not fields["lower_order_final"] and not configuration.ends_clean and steps % 2 == 0)


def _solver(configuration: Configuration, lower: bool, third: str) -> Sampler:
    """DPM-Solver++ or, in noise form, DPM-Solver. third: the formula of order 3."""
    fields = configuration.fields
    order, midpoint = fields["solver_order"], fields["solver_type"] == "midpoint"
    if fields["algorithm_type"] != "dpmsolver":
        formula = {1: "exact", 2: "midpoint" if midpoint else "exact", 3: third}[order]
        return samplers.dpm_solver_multistep(order, eta=_eta(configuration), formula=formula, lower_order_final=lower)
    if order == 1:
        return samplers.ddim()
    if (order == 2 and not midpoint) or (order == 3 and third == "exact"):
        return samplers.deis(order, lower_order_final=lower)
    rule = exponential_integrators.midpoint if order == 2 else exponential_integrators.halved
    return Multistep(records.replace(VARIABLES["log_ratio"], rule=rule), order, "never", lower)


def _eta(configuration: Configuration) -> float:
    return 1.0 if configuration.fields["algorithm_type"].startswith("sde") else 0.0


METHODS: Mapping[str, Make] = {
    names.PNDM: _pndm,
    names.DDIM: lambda configuration, chain, steps: samplers.ddim(),
    names.DDPM: _ddpm,
    names.EULER: lambda configuration, chain, steps: samplers.euler(),
    names.ANCESTRAL: lambda configuration, chain, steps: samplers.euler_ancestral(),
    names.HEUN: lambda configuration, chain, steps: samplers.heun(),
    names.MULTISTEP: _multistep,
    names.SINGLE: _single,
    names.UNIPC: _unipc,
    names.LCM: _lcm,
    names.FLOW: _flow,
}
"""By the published formulas, one sampler for every number of steps."""
AS_SHIPPED: Mapping[str, Make] = {
    **METHODS,
    names.PNDM: _plms,
    names.DDIM: _even_ddim,
    names.HEUN: lambda configuration, chain, steps: RatioHeun(),
    names.MULTISTEP: _shipped_multistep,
    names.SINGLE: _shipped_single,
}
"""As diffusers steps, for one number of steps."""
