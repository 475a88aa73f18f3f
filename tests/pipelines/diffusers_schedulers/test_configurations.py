"""Every field of a scheduler_config.json is followed or refused by its name."""

import json
import math

import numpy as np
import pytest

from gendiff.core.errors import ConfigError, DataError
from gendiff.diffusion import schedules
from gendiff.pipelines.diffusers_schedulers import configurations, from_config
from gendiff.weights import files
from tests.pipelines.diffusers_schedulers import cases
from tests.pipelines.diffusers_schedulers.cases import KARRAS, STRAIGHT, scheduler_config
from tests.refusals import refusals
from tests.tables import table


@table("like_diffusers", [False, True])
@table("name", cases.PUBLISHED)
def test_published_models_have_a_match(name, like_diffusers):
    config = cases.PUBLISHED[name]
    configuration = from_config(config, like_diffusers=like_diffusers).configuration
    assert configuration.fields == configurations.DEFAULTS[configuration.name] | {
        field: config[field] for field in configuration.fields if field in config
    }
    assert set(configuration.fields) | set(configuration.unused) >= {field for field in config if field[0] != "_"}


def test_fields_that_the_class_does_not_read_are_named():
    assert from_config(cases.SDXL).configuration.unused == (
        "clip_sample",
        "sample_max_value",
        "set_alpha_to_one",
        "skip_prk_steps",
    )
    assert from_config(cases.LCM).configuration.unused == ("set_alpha_to_one", "steps_offset", "timestep_spacing")
    assert from_config(cases.SD_3).configuration.unused == ()


def test_a_file_is_read_with_its_infinite_numbers(tmp_path):
    config = scheduler_config("DPMSolverMultistep", lambda_min_clipped=-math.inf, trained_betas=None)
    (tmp_path / "scheduler_config.json").write_text(json.dumps(config))
    assert from_config(files.load_config(tmp_path, "scheduler_config.json")) == from_config(config)
    with pytest.raises(DataError, match="config.json: no such file"):
        files.load_config(tmp_path)


def test_chains_are_those_of_the_fields():
    betas = np.linspace(0.01, 0.2, 7).tolist()
    short = {"num_train_timesteps": 7}
    assert from_config({"_class_name": "DDIMScheduler"}).schedule == schedules.linear()
    assert from_config(scheduler_config("DDIM", short, trained_betas=betas)).schedule == schedules.from_betas(betas)
    assert from_config(scheduler_config("DDIM", short, beta_schedule="squaredcos_cap_v2")).schedule == schedules.cosine(
        7
    )
    assert from_config(
        scheduler_config("DDIM", short, beta_schedule="linear", beta_start=0.1, beta_end=0.3)
    ).schedule == schedules.linear(7, 0.1, 0.3)
    for name, fields in {
        "cosine": {"beta_schedule": "squaredcos_cap_v2"},
        "given": {"trained_betas": np.linspace(0.01, 0.02, 1000).tolist()},
    }.items():
        exact, shipped = (
            from_config(scheduler_config("DDIM", fields), like_diffusers=like).schedule.table for like in (False, True)
        )
        np.testing.assert_allclose(shipped.alpha, exact.alpha, rtol=1e-3, err_msg=name)  # float32 rounds small alpha²
        assert np.any(shipped.alpha != exact.alpha)
    zero, small = (
        from_config(scheduler_config(name, cases.ZERO), like_diffusers=True).schedule.noisiest
        for name in ("DDIM", "EulerDiscrete")
    )
    assert zero.alpha == 0 and small.alpha == 2.0**-12


def refused(config, *words, like_diffusers=False):
    return (lambda: from_config(config, like_diffusers=like_diffusers), ".*".join(words), ConfigError)


def unlike(config, *words):
    """Refused only where diffusers' own steps are asked for."""
    from_config(config)
    return refused(config, *words, like_diffusers=True)


DPM, UNIPC, SINGLE = "DPMSolverMultistep", "UniPCMultistep", "DPMSolverSinglestep"
LONG_FLUX = cases.FLUX_DEV | {"max_image_seq_len": 256}
test_what_has_no_match_is_refused_by_name = refusals(
    refused([], "config = ", "_class_name"),
    refused({"beta_start": 0.1}, "_class_name"),
    refused({"_class_name": "DDIMSheduler"}, "'DDIMSheduler' is none of PNDMScheduler", "did you mean 'DDIMScheduler'"),
    refused({"_class_name": ["DDIMScheduler"]}, "is none of"),
    refused(scheduler_config("DDIM", beta_strat=0.1), "DDIMScheduler: beta_strat = 0.1", "do not know"),
    refused(scheduler_config("DDIM", beta_start="0.1"), "beta_start = '0.1'", "a number is needed"),
    refused(scheduler_config("DDIM", beta_start=0.0), "beta_start = 0.0", "between 0 and 1"),
    refused(scheduler_config("DDIM", beta_end=math.nan), "beta_end = nan"),
    refused(scheduler_config("DDIM", num_train_timesteps=0), "num_train_timesteps = 0", "from 1 to"),
    refused(scheduler_config("DDIM", num_train_timesteps=10**12), "num_train_timesteps = 1000000000000"),
    refused(scheduler_config("DDIM", steps_offset=-1), "steps_offset = -1"),
    refused(scheduler_config("DDIM", beta_schedule="laplace"), "beta_schedule = 'laplace'", "only 'linear'"),
    refused(scheduler_config("DDIM", trained_betas=[0.1, 0.2]), "trained_betas", "a list of 1000 numbers"),
    refused(
        scheduler_config("DDIM", num_train_timesteps=2, trained_betas=[0.1, 1.0]), "trained_betas", "between 0 and 1"
    ),
    refused(scheduler_config("DDIM", trained_betas=0.1), "trained_betas = 0.1"),
    refused(scheduler_config("DDIM", prediction_type="score"), "prediction_type = 'score'"),
    refused(scheduler_config("DDIM", timestep_spacing="even"), "timestep_spacing = 'even'"),
    refused(scheduler_config("DDIM", clip_sample_range=0.0), "clip_sample_range = 0.0"),
    refused(scheduler_config("DDIM", dynamic_thresholding_ratio=99.5), "dynamic_thresholding_ratio = 99.5"),
    refused(scheduler_config("DDIM", rescale_betas_zero_snr=True), "prediction_type = 'epsilon'", "zero terminal SNR"),
    refused(scheduler_config("DDPM", variance_type="learned_range"), "variance_type = 'learned_range'"),
    refused(scheduler_config("PNDM", prediction_type="sample"), "prediction_type = 'sample'"),
    refused(
        scheduler_config("EulerDiscrete", KARRAS, use_beta_sigmas=True),
        "use_karras_sigmas and use_beta_sigmas exclude each other",
    ),
    refused(scheduler_config("EulerDiscrete", sigma_min=0.1), "sigma_min = 0.1", "limit"),
    refused(scheduler_config("EulerDiscrete", cases.ZERO, KARRAS), "use_karras_sigmas = True", "infinite"),
    refused(scheduler_config("EulerDiscrete", timestep_type="continuous"), "timestep_type = 'continuous'"),
    refused(scheduler_config("EulerDiscrete", interpolation_type="log_linear"), "interpolation_type"),
    refused(scheduler_config(DPM, solver_order=4), "solver_order = 4"),
    refused(scheduler_config(DPM, algorithm_type="sde-dpmsolver"), "algorithm_type = 'sde-dpmsolver'"),
    refused(scheduler_config(DPM, algorithm_type="dpmsolver"), "final_sigmas_type = 'zero'", "sigma_min"),
    refused(scheduler_config(DPM, lambda_min_clipped=-5.1), "lambda_min_clipped = -5.1"),
    refused(
        scheduler_config(DPM, prediction_type="flow_prediction"),
        "prediction_type = 'flow_prediction'",
        "use_flow_sigmas",
    ),
    refused(
        scheduler_config(DPM, STRAIGHT, prediction_type="epsilon"), "prediction_type = 'epsilon'", "use_flow_sigmas"
    ),
    refused(scheduler_config(DPM, STRAIGHT, KARRAS), "use_flow_sigmas", "excludes"),
    refused(scheduler_config(DPM, flow_shift=3.0), "flow_shift = 3.0"),
    refused(scheduler_config(DPM, use_dynamic_shifting=True), "use_dynamic_shifting = True"),
    refused(scheduler_config(SINGLE, solver_type="heun"), "solver_type = 'heun'"),
    refused(scheduler_config(SINGLE, solver_order=3, algorithm_type="sde-dpmsolver++"), "solver_order = 3"),
    refused(scheduler_config(UNIPC, predict_x0=False), "predict_x0 = False"),
    refused(scheduler_config(UNIPC, disable_corrector=[0]), r"disable_corrector = \(0,\)"),
    refused(scheduler_config(UNIPC, shift_terminal=0.1), "shift_terminal = 0.1"),
    refused(cases.LCM | {"original_inference_steps": 2000}, "original_inference_steps = 2000"),
    refused(cases.SD_3 | {"invert_sigmas": True}, "invert_sigmas = True"),
    refused(cases.SD_3 | {"num_train_timesteps": 500}, "num_train_timesteps = 500"),
    refused(cases.SD_3 | {"shift": 0}, "shift = 0"),
    refused(cases.SD_3 | {"shift": 10**400}, "shift = 1000"),
    refused(LONG_FLUX, "base_image_seq_len = 256"),
    refused(cases.FLUX_DEV | {"max_shift": None}, "max_shift = None"),
    (lambda: from_config(cases.SD_3, like_diffusers=1), "like_diffusers must be True or False", TypeError),
)
test_what_has_no_match_is_refused_by_name = pytest.mark.fault("weights: a configuration that cannot be followed")(
    test_what_has_no_match_is_refused_by_name
)
test_what_only_diffusers_does_is_refused_where_it_is_asked_for = refusals(
    unlike(scheduler_config("PNDM", timestep_spacing="trailing"), "skip_prk_steps = False"),
    unlike(scheduler_config("DDPM", variance_type="fixed_large", steps_offset=1), "variance_type = 'fixed_large'"),
    unlike(scheduler_config(DPM, solver_order=3, algorithm_type="sde-dpmsolver++"), "solver_order = 3", "sign"),
    unlike(scheduler_config(DPM, solver_order=3, solver_type="heun"), "solver_type = 'heun'"),
    unlike(
        scheduler_config(DPM, solver_order=3, final_sigmas_type="sigma_min", euler_at_final=True),
        "euler_at_final = True",
    ),
    unlike(scheduler_config(SINGLE, solver_order=3), "solver_order = 3"),
    unlike(scheduler_config(SINGLE, algorithm_type="sde-dpmsolver++"), "algorithm_type"),
    unlike(scheduler_config(UNIPC, solver_type="bh1"), "solver_type = 'bh1'", "NaN"),
    unlike(scheduler_config(UNIPC, lower_order_final=False), "lower_order_final = False", "NaN"),
    unlike(scheduler_config("DDIM", beta_schedule="linear", beta_start=1e-9), "float32"),
)


def scheduler(config, **options):
    return lambda: from_config(config).grid(**options)


test_arguments_that_do_not_belong_to_the_class_are_refused = refusals(
    (scheduler(cases.SD_1_5, steps=0), "steps = 0"),
    (scheduler(cases.SD_1_5, steps=1001), "steps = 1001"),
    (scheduler(cases.SD_1_5, steps=1000), "leaves the table"),
    (scheduler(scheduler_config(DPM), steps=1000), "steps = 1000"),
    (scheduler(cases.LCM, steps=51), "steps = 51"),
    (scheduler(cases.SD_3, steps=2, tokens=10), "tokens = 10", ValueError),
    (scheduler(cases.FLUX_DEV, steps=2), "tokens = None: .* needs"),
    (scheduler(cases.FLUX_DEV, steps=2, tokens=0), "tokens = 0"),
    (
        scheduler(cases.FLUX_DEV | {"base_shift": -5.0, "time_shift_type": "linear"}, steps=2, tokens=256),
        "the shift would be -5",
    ),
    (scheduler(cases.SD_1_5, steps=2, sigmas=[1.0, 0.5]), "sigmas are for FlowMatchEulerDiscreteScheduler"),
    (scheduler(cases.SD_3, steps=2, sigmas=[1.0, 0.5, 0.1]), r"shape \(2,\)"),
    (scheduler(cases.SD_3, steps=2, sigmas=[0.5, 0.5]), "fall strictly"),
    (scheduler(cases.SD_3, steps=2, sigmas=[1.5, 0.5]), "outside"),
    (lambda: from_config(cases.SD_1_5).sampler(0), "steps = 0"),
)
