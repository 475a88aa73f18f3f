"""Mistakes in the table of a sweep are found, and a clean sweep has none."""

import math

import numpy as np
import pytest

from gendiff.scaling import fits, published
from tests.refusals import refusals
from tests.scaling.fits import sweeps

SIZES, BUDGETS = np.geomspace(5e6, 4e10, 12), np.geomspace(1e18, 1e21, 5)


def grid(noise, seed):
    """The same sizes at every budget."""
    parameters, flops = (each.ravel() for each in np.meshgrid(SIZES, BUDGETS))
    return noisy(parameters, flops / (6 * parameters), noise, seed)


def scattered(noise, seed):
    """Any sizes with any tokens."""
    draw = np.random.default_rng(100 + seed)
    return noisy(np.exp(draw.uniform(16, 23, 60)), np.exp(draw.uniform(21, 27, 60)), noise, seed)


def noisy(parameters, tokens, noise, seed):
    loss = published.EPOCH.loss(parameters, tokens) * np.exp(
        noise * np.random.default_rng(seed).standard_normal(len(parameters))
    )
    return fits.points(parameters, tokens, loss)


def changed(table, seed, share=None, rows=None, flops=None, **factors):
    """(the table with some columns of a share of its rows times a factor, which rows); the operations stay those of the
    training.
    """
    rows = np.random.default_rng(seed).permutation(len(table))[: len(table) // share] if rows is None else rows
    columns = {name: getattr(table, name).copy() for name in ("parameters", "tokens", "loss")}
    for name, factor in factors.items():
        columns[name][rows] *= factor
    return fits.points(**columns, flops=table.flops if flops is None else None), sorted(map(int, rows))


def kinds(table):
    """Rows by kind."""
    return {each.kind: list(each.rows) for each in fits.check_sweep(table, fits.fit_parametric(table))}


DESIGNS = {"grid": grid, "scattered": scattered, "isoflop": lambda noise, seed: sweeps.isoflop(noise=noise, seed=seed)}


@pytest.mark.parametrize("design", DESIGNS)
def test_clean_sweeps_have_no_finding(design):
    for seed, noise in enumerate((0.0, 0.01, 0.03)):
        assert not kinds(DESIGNS[design](noise, seed)), (seed, noise)


@pytest.mark.parametrize(("design", "seed"), [("grid", 0), ("scattered", 1), ("isoflop", 2)])
def test_each_mistake_is_found_with_its_rows(design, seed):
    table = DESIGNS[design](0.005, seed)
    many, rows = changed(table, seed, share=7, tokens=30)
    assert kinds(many)["operations"] == rows
    unsaid, rows = changed(table, seed, share=7, tokens=30, flops=False)  # without operations the losses tell
    assert set(kinds(unsaid)["far from the fit"]) <= set(rows)
    bits, rows = changed(table, seed, share=10, loss=1 / math.log(2))
    findings = fits.check_sweep(bits, fits.fit_parametric(bits))
    assert [list(each.rows) for each in findings if each.kind == "far from the fit"] == [rows]
    assert any("as bits among nats are" in each.says for each in findings)
    twice = kinds(table.take(np.append(np.arange(len(table)), [3, 5])))
    assert twice == {"doubled": [len(table), len(table) + 1]}
    size = np.random.default_rng(seed).choice(np.unique(table.parameters))
    thousands, rows = changed(table, seed, rows=np.flatnonzero(table.parameters == size), parameters=1e-3, flops=False)
    assert kinds(thousands)["unit of a size"] == rows


def test_operations_of_all_runs_may_be_a_multiple_but_not_a_unit():
    table = grid(0.003, 0)
    embeddings = fits.points(
        table.parameters, table.tokens, table.loss, table.flops * np.where(table.parameters < 1e7, 2.5, 1.2)
    )
    assert not fits.check_sweep(embeddings)
    giga = fits.points(table.parameters, table.tokens, table.loss, table.flops / 1e9)
    (finding,) = fits.check_sweep(giga)
    assert finding.kind == "operations" and not finding.rows and "1e-09 times 6 N D" in finding.says
    assert not fits.check_sweep(fits.points(table.parameters, table.tokens, table.loss, per_token=2.0), per_token=2.0)


def test_seeds_of_one_training_are_not_doubled():
    table = grid(0.003, 0)
    both = [np.append(getattr(table, name), getattr(grid(0.003, 1), name)) for name in ("parameters", "tokens", "loss")]
    assert not kinds(fits.points(*both))


def test_approaches_disagree_where_their_intervals_lie_far_apart():
    table, nan = grid(0.003, 0), math.nan
    near = {"one": (0.5, 0.49, 0.51), "two": (0.53, 0.515, 0.54), "bare": (0.9, nan, nan)}
    assert not fits.check_sweep(table, exponents=near)
    (finding,) = fits.check_sweep(table, exponents=near | {"three": (0.62, 0.6, 0.63)})[:1]
    assert (
        finding.kind == "approaches disagree"
        and "one has the exponent 0.500 [0.490, 0.510], and three 0.620" in finding.says
    )


test_a_mistake_is_refused = refusals((lambda: fits.check_sweep(grid(0.0, 0), per_token=0.0), "per_token = 0"))
