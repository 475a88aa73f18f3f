"""The certify experiment: its smoke run, the samplers that it lists, and the numbers that it makes claims of."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.diffusion import certify
from experiments.diffusion.certify import figures, findings, tables
from gendiff.core.errors import ConfigError
from gendiff.diffusion import grids, samplers, sampling
from gendiff.diffusion.certify import METHODS, Curve
from gendiff.diffusion.certify.convergence_order import Fit
from gendiff.runs.reporting import results
from tests.experiments.studies import smoke
from tests.tables import table

RESULTS = Path(__file__).parents[4] / "experiments" / "results"


@pytest.mark.slow
def test_a_smoke_run_leaves_everything_and_a_table_with_a_line_per_sampler(tmp_path, capsys):
    finished = smoke.run("certify", folder := tmp_path / "run", capsys)
    assert {figure["file"] for figure in finished["figures"]} == {f"{name}.png" for name in smoke.LEAVES["certify"]}
    controls = {claim["id"]: claim["verdict"] for claim in finished["claims"] if claim["kind"] == "control"}
    assert set(controls) == {"previous-timestep", "wrong-heun"}
    claimed = {(claim["id"], claim["seed"]): claim["value"] for claim in finished["claims"]}
    for seed in (0, 1):
        assert (
            claimed["order-heun", seed] < 0.15
            and claimed["wide-orders", seed] < 0.15
            and claimed["exact-cases", seed] < 1e-9
        )
    assert [seed for id, seed in claimed if id == "order-ddpm"] == [None]  # a weak error is computed without chance
    lines = (folder / "samplers.md").read_text().splitlines()
    assert lines[0] == "| sampler | evaluations in n steps | order: theory | measured | source |"
    assert lines[1] == "| --- | --- | --- | --- | --- |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| `heun()`", "| `dpm_solver_multistep(3)`", "| `ddpm()`"]
    assert (folder / "samplers.md").read_text() == tables.markdown(results.read(folder).tables[0])
    for name in smoke.LEAVES["certify"]:
        with Image.open(folder / f"{name}.png") as image:
            assert 500 < image.width < 2400 and 500 < image.height < 1400


# The samplers.


def test_ids_are_unique_words_and_those_of_committed_claims():
    ids = [method.id for method in METHODS.values()]
    assert len(set(ids)) == len(ids) and all(id.replace("-", "").replace("_", "").isalnum() for id in ids)
    committed = results.read(RESULTS / "certify").claims
    assert {claim.id.removeprefix("order-") for claim in committed if claim.id.startswith("order-")} <= set(ids)


def test_an_unknown_sampler_is_refused_by_name():
    assert [entry.id for entry in certify.chosen(certify.Config(samplers=("rk4-schedule", "ddim")))] == [
        "ddim",
        "rk4-schedule",
    ]
    with pytest.raises(ConfigError, match="ddimm is none of ddim, euler"):
        certify.chosen(certify.Config(samplers=("ddimm",)))


# The previous timestep.


def test_the_formula_is_right_for_leading_spacing_and_for_divisors_alone():
    assert findings.wrong_counts("leading", 60) == ()
    assert findings.wrong_counts("trailing", 60) == tuple(n for n in range(1, 61) if 1000 % n)
    assert findings.wrong_counts("linspace", 60) == tuple(range(2, 61))


def test_wrong_targets_are_counted():
    """Of entries 999, 666, 332 and the clean end, 332 is missed by one: 666 - 333 is 333."""
    assert findings.wrong_targets("trailing", 3) == 1


@pytest.mark.float64
def test_by_the_formula_ddim_is_right_with_leading_spacing_and_wrong_with_linspace():
    oracle, formula = findings.two_gaussians(), findings.PreviousTimestep(findings.TABLE.table)
    draw = jax.jit(sampling.sample, static_argnames=("shape",))
    differences = []
    for build in (grids.leading, grids.linspace):
        levels = build(findings.TABLE, 30)
        ends = [
            draw(jax.random.key(0), oracle, sampler, levels, shape=(1,), index=jnp.arange(4))
            for sampler in (samplers.ddim(), formula)
        ]
        differences.append(float(jnp.max(jnp.abs(ends[0] - ends[1]))))
    assert differences[0] < 1e-12 and differences[1] > 1e-2


def test_errors_orders_and_ratios_are_those_of_their_rows():
    rows = np.linspace(0.5, 2.0, 7)
    counts = (64, 128, 256)
    grid = np.array([rows / n**2 for n in counts])
    errors = findings.Errors(counts, grid, 9 * grid)
    assert errors.order("grid", counts) == pytest.approx((1, 1, 1)) and errors.ratio(128) == pytest.approx((3, 3, 3))
    value, low, high = errors.error("formula", 64)
    assert value == pytest.approx(3 / 64 * math.sqrt(1.25)) and low < value < high


# The numbers.


def curve(stated=2, fit=None, steps=(8, 16, 32), evaluations=(15, 31, 63), errors=(1e-2, 2.5e-3, 6e-4)):
    return Curve("flow", stated, steps, evaluations, errors, fit or Fit(reason="too few"))


@table(
    ("fitted", "expected"),
    [
        ((2.1, 2.05, 2.2), (0.1, 0.05, 0.2)),
        ((1.9, 1.8, 1.95), (0.1, 0.05, 0.2)),
        ((2.02, 1.9, 2.05), (0.02, 0.0, 0.1)),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    ],
)
def test_the_distance_from_an_order_keeps_the_interval_of_the_fit(fitted, expected):
    assert certify.distance(curve(fit=Fit(*fitted))) == pytest.approx(expected)


def test_an_order_that_was_not_fitted_fails_its_claim():
    assert all(map(math.isnan, certify.distance(curve())))


def test_an_error_between_two_measured_ones_lies_on_their_line():
    assert tables.error_at(curve(), 31) == pytest.approx(2.5e-3)
    assert tables.error_at(curve(evaluations=(10, 40, 160), errors=(1e-2, 1e-3, 1e-4)), 20) == pytest.approx(10**-2.5)
    assert tables.error_at(curve(), 14) is None and tables.error_at(curve(), 64) is None


def test_names_at_the_ends_of_curves_stand_apart_within_the_panel():
    for places in ([0.5, 0.5, 0.51], [0.0, 0.01, 0.3], [0.97, 0.99], [0.4]):
        positions = figures._apart(places)
        assert np.all(np.diff(positions) > figures.GAP - 1e-3) and positions.min() >= 0 and positions.max() <= 1
