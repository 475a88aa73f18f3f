import pytest

from gendiff.core.errors import ConfigError
from gendiff.weights import settings

DEFAULTS = {"depth": 2, "sizes": (1, 2), "form": "plain"}


def settled(**given):
    return settings.of(given, ("Net", "OlderNet"), DEFAULTS, {"form": ("plain", "fancy")})


def test_settings_are_the_defaults_but_for_what_is_given_and_lists_are_tuples():
    assert settled() == DEFAULTS
    assert settled(_class_name="OlderNet", _version="1.0", sizes=[3, 4], form="fancy") == {"depth": 2, "sizes": (3, 4), "form": "fancy"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"_class_name": "Other"}, "'Other': these rules are for Net and OlderNet"),
        ({"width": 3}, "width = 3 is a setting that these rules do not know"),
        ({"form": "round"}, "form = 'round' is not supported, only 'plain', 'fancy'"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(given, said):
    with pytest.raises(ConfigError, match=said):
        settled(**given)


def test_refuse_unless_lets_what_fits_pass():
    settings.refuse_unless(True, "Net", "depth", 2, "only 2")
    with pytest.raises(ConfigError, match="Net: depth = 3 is not supported, only 2"):
        settings.refuse_unless(False, "Net", "depth", 3, "only 2")
