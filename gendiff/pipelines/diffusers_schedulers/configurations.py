"""The scheduler_config.json of diffusers: classes with a match here, their fields, and the values that are supported.

A file often holds fields of another class, because diffusers copies them when a scheduler is made from the
configuration of another one: Stable Diffusion XL's Euler scheduler says `set_alpha_to_one`. diffusers does not read
them. They are named in `unused` here. A field that no class knows is refused.
"""

import dataclasses
import math
from collections.abc import Mapping

from gendiff.core import choices
from gendiff.core.errors import ConfigError
from gendiff.core.foreign_files import Config
from gendiff.weights import settings

PNDM, DDIM, DDPM, LCM = "PNDMScheduler", "DDIMScheduler", "DDPMScheduler", "LCMScheduler"
EULER, ANCESTRAL, HEUN = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"
MULTISTEP, SINGLE, UNIPC = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler"
FLOW = "FlowMatchEulerDiscreteScheduler"
SCALED = (EULER, ANCESTRAL, HEUN)
"""Those that keep x / alpha. In alpha and sigma their steps are the same."""
SOLVERS = (MULTISTEP, SINGLE, UNIPC)
"""Those that lay n steps on n + 1 entries of the table."""
SPREADS = ("use_karras_sigmas", "use_exponential_sigmas", "use_lu_lambdas", "use_beta_sigmas")
"""Fields that spread sigma / alpha between two limits, in place of a spacing of timesteps."""

_CHAIN = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
}
_LATENT = _CHAIN | {"beta_start": 0.00085, "beta_end": 0.012}
_LEADING = {"timestep_spacing": "leading", "steps_offset": 0}
_LINSPACE = _LEADING | {"timestep_spacing": "linspace"}
_ZERO_SNR = {"rescale_betas_zero_snr": False}
_CLIP = {"clip_sample": True, "clip_sample_range": 1.0}
_NO_CLIP = _CLIP | {"clip_sample": False}
_THRESHOLD = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
_SPREADS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_LIMITS = {"sigma_min": None, "sigma_max": None}
_SOLVER = _CHAIN | _THRESHOLD | _SPREADS
_SOLVER |= {"solver_order": 2, "lower_order_final": True, "final_sigmas_type": "zero"}
_SOLVER |= {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
_DPM = {
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lambda_min_clipped": -math.inf,
    "variance_type": None,
}

DEFAULTS: dict[str, Config] = {
    PNDM: _CHAIN | _LEADING | {"skip_prk_steps": False, "set_alpha_to_one": False},
    DDIM: _CHAIN | _LEADING | _CLIP | _THRESHOLD | _ZERO_SNR | {"set_alpha_to_one": True},
    DDPM: _CHAIN | _LEADING | _CLIP | _THRESHOLD | _ZERO_SNR | {"variance_type": "fixed_small"},
    EULER: _CHAIN
    | _LINSPACE
    | _ZERO_SNR
    | _SPREADS
    | _LIMITS
    | {"interpolation_type": "linear", "timestep_type": "discrete", "final_sigmas_type": "zero"},
    ANCESTRAL: _CHAIN | _LINSPACE | _ZERO_SNR,
    HEUN: _LATENT | _LINSPACE | _SPREADS | _NO_CLIP,
    MULTISTEP: _SOLVER | _LINSPACE | _ZERO_SNR | _DPM | {"euler_at_final": False, "use_lu_lambdas": False},
    SINGLE: _SOLVER | _DPM | {"lower_order_final": False},
    UNIPC: _SOLVER
    | _LINSPACE
    | _ZERO_SNR
    | _LIMITS
    | {"predict_x0": True, "solver_type": "bh2", "disable_corrector": (), "solver_p": None, "shift_terminal": None},
    LCM: _LATENT
    | _NO_CLIP
    | _THRESHOLD
    | _ZERO_SNR
    | {"beta_schedule": "scaled_linear", "original_inference_steps": 50, "timestep_scaling": 10.0},
    FLOW: _SPREADS
    | {
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "use_dynamic_shifting": False,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
        "invert_sigmas": False,
        "shift_terminal": None,
        "time_shift_type": "exponential",
        "stochastic_sampling": False,
    },
}
"""The fields that each class reads, and their values where a file does not name them."""

_KINDS = ("epsilon", "sample", "v_prediction")
_WITH_FLOW = (*_KINDS, "flow_prediction")
_ALL_SUPPORTED: dict[str, tuple[object, ...]] = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "prediction_type": _KINDS,
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "final_sigmas_type": ("zero", "sigma_min"),
    "lambda_min_clipped": (-math.inf,),
    "interpolation_type": ("linear",),
    "timestep_type": ("discrete",),
    "predict_x0": (True,),
    "disable_corrector": ((),),
    "solver_p": (None,),
    "invert_sigmas": (False,),
}
_SOLVER_SUPPORTED = {"prediction_type": _WITH_FLOW, "use_dynamic_shifting": (False,), "variance_type": (None,)}
SUPPORTED: dict[str, dict[str, tuple[object, ...]]] = {
    PNDM: {"prediction_type": ("epsilon", "v_prediction")},
    DDPM: {"variance_type": ("fixed_small", "fixed_small_log", "fixed_large")},
    ANCESTRAL: {"prediction_type": ("epsilon", "v_prediction")},
    MULTISTEP: _SOLVER_SUPPORTED
    | {"algorithm_type": ("dpmsolver++", "sde-dpmsolver++", "dpmsolver"), "solver_type": ("midpoint", "heun")},
    SINGLE: _SOLVER_SUPPORTED | {"algorithm_type": ("dpmsolver++", "sde-dpmsolver++"), "solver_type": ("midpoint",)},
    UNIPC: _SOLVER_SUPPORTED | {"solver_type": ("bh1", "bh2")},
    FLOW: {"num_train_timesteps": (1000,), "time_shift_type": ("exponential", "linear")},
}
"""The values of those fields that have few, where a class has others than most."""
OPTIONAL: dict[str, tuple[type, ...]] = {
    "trained_betas": (tuple, float),
    "variance_type": (str,),
    **dict.fromkeys(("sigma_min", "sigma_max", "shift_terminal", "base_shift", "max_shift"), (float,)),
    **dict.fromkeys(SPREADS, (bool,)),
}
RANGES: dict[str, tuple[float, float]] = {
    "num_train_timesteps": (1, 100_000),
    "steps_offset": (0, 100_000),
    "solver_order": (1, 3),
    "original_inference_steps": (1, 100_000),
    "base_image_seq_len": (1, 1_000_000_000),
    "max_image_seq_len": (1, 1_000_000_000),
    "dynamic_thresholding_ratio": (0, 1),
}
"""Both bounds are inside."""
OPEN_RANGES: dict[str, tuple[float, float]] = {
    "beta_start": (0, 1),
    "beta_end": (0, 1),
    **dict.fromkeys(("clip_sample_range", "sample_max_value", "timestep_scaling", "flow_shift", "shift"), (0, 1e9)),
    **dict.fromkeys(("sigma_min", "sigma_max"), (0, 1e9)),
    "shift_terminal": (0, 1),
    **dict.fromkeys(("base_shift", "max_shift"), (-100, 100)),
}
"""Of fields that become float. Both bounds are outside."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A configuration that can be followed.

    Args:
        name: the class.
        fields: those that the class reads, defaults included; lists are tuples.
        unused: names in the file that the class does not read, in alphabetical order.
    """

    name: str
    fields: Config
    unused: tuple[str, ...]

    @property
    def spread(self) -> str | None:
        """The field that spreads sigma / alpha between two limits, or None."""
        return next((field for field in SPREADS if self.fields.get(field)), None)

    @property
    def ends_clean(self) -> bool:
        """Whether the last step ends at sigma = 0, and not at the cleanest level of the chain."""
        return self.fields.get("final_sigmas_type", "zero") == "zero" and bool(
            self.fields.get("set_alpha_to_one", True)
        )

    @property
    def straight(self) -> bool:
        """Whether the process is the straight path of flow matching."""
        return self.name == FLOW or self.fields.get("use_flow_sigmas", False)


def read(config: Config, *, like_diffusers: bool = False) -> Configuration:
    """Read the settings of a scheduler_config.json.

    Args:
        config: as it stands in the file.
        like_diffusers: whether diffusers' own steps are asked for, some of which have no match.

    Raises:
        ConfigError: for a class or a field without a match, and for fields that contradict each other, by name and
            value.
    """
    if not isinstance(config, Mapping) or "_class_name" not in config:
        raise ConfigError(f"config = {config!r} must be a mapping with _class_name, as in a scheduler_config.json")
    name = config["_class_name"]
    try:
        choices.choice("_class_name", name, DEFAULTS)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    defaults = DEFAULTS[name]
    supported = {  # also of fields of other classes whose defaults do not say their type
        field: values
        for field, values in (_ALL_SUPPORTED | SUPPORTED.get(name, {})).items()
        if field in defaults or field in ("disable_corrector", "solver_p")
    }
    all_fields = {field: value for fields in DEFAULTS.values() for field, value in fields.items()}
    optional = {field: types for field, types in OPTIONAL.items() if field not in supported}
    known = settings.from_config(config, (name,), {**all_fields, **defaults}, supported, optional)
    configuration = Configuration(
        name,
        {field: known[field] for field in defaults},
        tuple(sorted(field for field in config if field not in defaults and not field.startswith("_"))),
    )
    _check(configuration, like_diffusers)
    if like_diffusers:
        _check_likeness(configuration)
    numbers = {
        field: float(value)
        for field, value in configuration.fields.items()
        if field in OPEN_RANGES and value is not None
    }
    return dataclasses.replace(configuration, fields={**configuration.fields, **numbers})


def _refuse(configuration: Configuration, wrong: object, field: str, instead: str) -> None:
    settings.refuse_unless(not wrong, configuration.name, field, configuration.fields.get(field), instead)


def _check(configuration: Configuration, like_diffusers: bool) -> None:
    """Refuse numbers outside of their range, and fields that contradict each other."""
    fields = configuration.fields
    for field, value in fields.items():
        low, high = RANGES.get(field, (-math.inf, math.inf))
        above, below = OPEN_RANGES.get(field, (-math.inf, math.inf))
        if value is not None and field in RANGES:
            _refuse(configuration, not low <= value <= high, field, f"a number from {low} to {high} is needed")
        if value is not None and field in OPEN_RANGES:
            _refuse(configuration, not above < value < below, field, f"a number between {above} and {below} is needed")
    betas = fields.get("trained_betas")
    if betas is not None:
        wrong = (
            not isinstance(betas, tuple)
            or len(betas) != fields["num_train_timesteps"]
            or not all(0 < beta < 1 for beta in betas)
        )
        _refuse(
            configuration,
            wrong,
            "trained_betas",
            f"a list of {fields['num_train_timesteps']} numbers between 0 and 1 is needed",
        )
    spreads = [field for field in SPREADS if fields.get(field)]
    _refuse(
        configuration, len(spreads) > 1, spreads[-1] if spreads else "", f"{' and '.join(spreads)} exclude each other"
    )
    for field in ("sigma_min", "sigma_max"):
        _refuse(
            configuration,
            fields.get(field) is not None and not spreads,
            field,
            f"it is a limit of {', '.join(SPREADS)}, and none is set",
        )
    _check_straight(configuration, bool(spreads))
    if fields.get("rescale_betas_zero_snr"):
        endless = spreads and fields.get("sigma_max") is None and not like_diffusers
        _refuse(
            configuration,
            endless,
            spreads[-1] if spreads else "",
            "its largest sigma / alpha is infinite (rescale_betas_zero_snr)",
        )
        fix = "the network's noise says nothing of the clean sample at zero terminal SNR (rescale_betas_zero_snr)"
        _refuse(configuration, fields["prediction_type"] == "epsilon", "prediction_type", fix)
    if fields.get("algorithm_type") == "dpmsolver":
        _refuse(
            configuration,
            fields["final_sigmas_type"] == "zero",
            "final_sigmas_type",
            'algorithm_type = "dpmsolver" ends at "sigma_min"',
        )
    if str(fields.get("algorithm_type")).startswith("sde") and configuration.name == SINGLE:
        _refuse(configuration, fields["solver_order"] == 3, "solver_order", "order 3 has no stochastic form")
    if configuration.name == LCM:
        steps = fields["num_train_timesteps"]
        wrong = fields["original_inference_steps"] > steps
        _refuse(configuration, wrong, "original_inference_steps", f"at most num_train_timesteps = {steps}")


def _check_straight(configuration: Configuration, spread: bool) -> None:
    """Of the straight path, which the solvers may follow too."""
    fields = configuration.fields
    if configuration.name in SOLVERS:
        straight = fields["use_flow_sigmas"]
        predicts = fields["prediction_type"] == "flow_prediction"
        _refuse(
            configuration,
            straight != predicts,
            "prediction_type",
            f'"flow_prediction" belongs to use_flow_sigmas, which is {straight}',
        )
        _refuse(configuration, straight and spread, "use_flow_sigmas", f"it excludes {', '.join(SPREADS)}")
        _refuse(
            configuration,
            straight and fields["num_train_timesteps"] != 1000,
            "num_train_timesteps",
            "only 1000 with use_flow_sigmas",
        )
        _refuse(
            configuration,
            straight and fields["final_sigmas_type"] != "zero",
            "final_sigmas_type",
            'only "zero" with use_flow_sigmas',
        )
        _refuse(
            configuration,
            straight and fields.get("rescale_betas_zero_snr"),
            "rescale_betas_zero_snr",
            "the straight path has no betas",
        )
        _refuse(
            configuration,
            not straight and fields["flow_shift"] != 1,
            "flow_shift",
            "it belongs to use_flow_sigmas, which is False",
        )
        _refuse(
            configuration,
            not straight and fields.get("shift_terminal") is not None,
            "shift_terminal",
            "it belongs to use_flow_sigmas",
        )
    if configuration.name == FLOW and fields["use_dynamic_shifting"]:
        for field in ("base_shift", "max_shift"):
            _refuse(configuration, fields[field] is None, field, "use_dynamic_shifting needs a number")
        wrong = fields["base_image_seq_len"] >= fields["max_image_seq_len"]
        _refuse(
            configuration,
            wrong,
            "base_image_seq_len",
            f"it must be below max_image_seq_len = {fields['max_image_seq_len']}",
        )


def _check_likeness(configuration: Configuration) -> None:
    """Refuse what diffusers does and no sampler here can do as well."""
    fields = configuration.fields
    order, to_clean = fields.get("solver_order"), configuration.ends_clean
    if configuration.name == PNDM and not fields["skip_prk_steps"]:
        differs = (
            fields["timestep_spacing"] != "leading"
            or fields["set_alpha_to_one"]
            or fields["prediction_type"] != "epsilon"
        )
        _refuse(
            configuration,
            differs,
            "skip_prk_steps",
            'like diffusers only with "leading", "epsilon" and set_alpha_to_one = False',
        )
    if configuration.name == DDPM and fields["variance_type"] == "fixed_large":
        spacing = fields["timestep_spacing"]
        noisy = spacing == "trailing" or (spacing == "leading" and fields["steps_offset"] > 0)
        _refuse(
            configuration, noisy, "variance_type", "diffusers adds noise in a last step that does not start at t = 0"
        )
    if configuration.name == MULTISTEP and order == 3:
        _refuse(
            configuration,
            fields["algorithm_type"] == "sde-dpmsolver++",
            "solver_order",
            "a sign is wrong in diffusers' stochastic order 3",
        )
        _refuse(
            configuration,
            fields["solver_type"] == "heun",
            "solver_type",
            "its order 3 takes the second step by another rule",
        )
        _refuse(
            configuration, fields["euler_at_final"] and not to_clean, "euler_at_final", "it lowers the last step alone"
        )
    if configuration.name == SINGLE:
        _refuse(configuration, order == 3, "solver_order", "diffusers' order 3 mixes steps of order 1, 2 and 3")
        _refuse(
            configuration,
            fields["algorithm_type"] != "dpmsolver++",
            "algorithm_type",
            "its stochastic steps draw their noises apart",
        )
    if configuration.name == UNIPC and to_clean:
        _refuse(
            configuration,
            fields["solver_type"] == "bh1",
            "solver_type",
            "diffusers ends in NaN: B(h) = h is infinite at sigma = 0",
        )
        wrong = not fields["lower_order_final"] and fields["solver_order"] > 1
        _refuse(
            configuration,
            wrong,
            "lower_order_final",
            "diffusers ends in NaN: its last step to sigma = 0 has order 2 as well",
        )
