import pytest

from gendiff.core.errors import ConfigError
from gendiff.weights import diffusers_dit as dit
from gendiff.weights import diffusers_flux as flux
from gendiff.weights import diffusers_sd3 as sd3
from gendiff.weights import settings
from gendiff.weights import transformers_bert as bert
from gendiff.weights import transformers_clip as clip
from gendiff.weights import transformers_gpt2 as gpt2
from gendiff.weights import transformers_llama as llama
from gendiff.weights import transformers_qwen as qwen
from gendiff.weights import transformers_t5 as t5
from tests.refusals import changed_rows, refusals

DEFAULTS = {"depth": 2, "sizes": (1, 2), "form": "plain", "size": None, "means": None}


def checked(**config):
    return settings.from_config(
        config,
        ("Net", "OlderNet"),
        DEFAULTS,
        {"form": ("plain", "fancy")},
        {"size": (int, tuple), "means": (float, tuple)},
    )


def test_settings_are_the_defaults_but_for_what_is_given_and_lists_are_tuples():
    assert checked() == DEFAULTS
    assert checked(_class_name="OlderNet", _version="1.0", sizes=[3, 4], form="fancy") == DEFAULTS | {
        "sizes": (3, 4),
        "form": "fancy",
    }
    assert checked(size=[3, 4])["size"] == (3, 4) and checked(size=5)["size"] == 5
    assert checked(means=[0.5, 1])["means"] == (0.5, 1) and checked(means=None)["means"] is None


UNMATCHED = [
    ({"_class_name": "Other"}, "'Other': these rules are for Net and OlderNet"),
    ({"width": 3}, "width = 3 is a setting that these rules do not know"),
    ({"form": "round"}, "form = 'round' is not supported, only 'plain', 'fancy'"),
    ({"depth": "2"}, "depth = '2' is not supported, a whole number is needed"),
    ({"sizes": [1, 2.5]}, r"sizes = \(1, 2.5\) is not supported, a list of whole numbers is needed"),
    ({"depth": 10**30}, "depth = 10+ is not supported, at most 10000 numbers, whole ones up to 2147483647"),
    ({"sizes": [1] * 10_001}, "at most 10000 numbers"),
    ({"means": [float("nan")]}, r"means = \(nan,\) is not supported, at most"),
    ({"means": ["1"]}, r"means = \('1',\) is not supported, a number or a list of numbers or null is needed"),
    (
        {"size": [True]},
        r"size = \(True,\) is not supported, a whole number or a list of whole numbers or null is needed",
    ),
]
test_what_cannot_be_followed_is_refused_by_name = pytest.mark.fault("weights: a configuration that cannot be followed")(
    refusals(*changed_rows(lambda config: checked(**config), {}, UNMATCHED, ConfigError))
)


def test_refuse_unless_lets_what_fits_pass():
    settings.refuse_unless(True, "Net", "depth", 2, "only 2")
    with pytest.raises(ConfigError, match="Net: depth = 3 is not supported, only 2"):
        settings.refuse_unless(False, "Net", "depth", 3, "only 2")


def layers(module, config=None):
    """Rows of a configuration of a model with far too many layers."""
    defaults = module.DEFAULTS if config is None else module.DEFAULTS[config["architectures"][0]]
    names = [name for name, value in defaults.items() if type(value) is int and "layer" in name]
    assert names
    return changed_rows(
        module.network_fields,
        config or {},
        [({name: 10**number}, f"{name} = 10+ is not supported, at most") for name in names for number in (5, 30)],
        ConfigError,
    )


test_more_layers_than_any_model_has_are_refused_before_names_are_written = pytest.mark.fault(
    "weights: a configuration with 10^30 layers"
)(
    refusals(
        *(row for module in (sd3, flux, dit, clip, t5, gpt2, llama, bert) for row in layers(module)),
        *(row for kind in qwen.DEFAULTS for row in layers(qwen, {"architectures": [kind]})),
    )
)
