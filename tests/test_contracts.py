"""What every member of a family keeps: rebuilt records are equal and do not retrace. Samplers have
diffusion/samplers/test_every.py.
"""

import functools

import jax

from gendiff import diffusion
from tests.diffusion.families import GRIDS, LEVELS, PARAMETERIZATIONS, SCHEDULES, WEIGHTS, for_each


@for_each(
    "family",
    {"schedules": SCHEDULES, "parameterizations": PARAMETERIZATIONS, "weights": WEIGHTS, "level samplers": LEVELS},
)
def test_rebuilt_records_are_equal_hash_alike_differ_from_their_siblings_and_do_not_retrace(family):
    traces = []

    @jax.jit
    def run(member):
        traces.append(None)
        return 0.0

    for build in family.values():
        assert build() == build() and hash(build()) == hash(build())
        run(build()), run(build())
    assert len({build() for build in family.values()}) == len(family)
    assert len(traces) == len({jax.tree.structure(build()) for build in family.values()})


def test_other_settings_are_other_records():
    schedules, weighting = diffusion.schedules, diffusion.weighting
    for build, first, second in (
        (schedules.linear, 1000, 999),
        (schedules.edm, 0.002, 0.003),
        (schedules.from_betas, [0.1, 0.2], [0.1, 0.3]),
        (functools.partial(schedules.shifted, schedules.flow()), 2.0, 3.0),
        (weighting.min_snr, 5.0, 4.0),
        (weighting.log_normal_levels, 0.0, 1.0),
    ):
        assert build(first) == build(first) != build(second)


def test_every_public_member_of_a_family_is_in_its_table():
    """A new member that is missing there is not tested."""
    listed = {
        diffusion.schedules: {*SCHEDULES, "max_noise_ratio", "variance_preserving"},
        diffusion.grids: {*GRIDS, "resolved_limits", "padded", "remaining"},
        diffusion.parameterization: {*PARAMETERIZATIONS},
        diffusion.weighting: {*WEIGHTS, *LEVELS},
    }
    for module, names in listed.items():
        functions = {
            name
            for name, value in vars(module).items()
            if callable(value) and not isinstance(value, type) and name[0] != "_"
        }
        public = {name for name in functions if getattr(getattr(module, name), "__module__", "") == module.__name__}
        assert public <= names, f"{module.__name__}: {public - names}"
