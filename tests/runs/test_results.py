import dataclasses
import json

import pytest

from gendiff.core.errors import DataError
from gendiff.runs.reporting import environment, results, verdicts
from tests.tables import table

ENVIRONMENT = results.Environment(
    commit="a" * 40, dirty=False, versions={"jax": "0.10.2"}, machine={"cores": 2, "devices": ["1 × cpu: cpu"]}
)


@dataclasses.dataclass(frozen=True)
class Thresholds:
    accuracy: float = 0.95


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = 50
    guidance: tuple[float, ...] = (1.0, 2.0)
    thresholds: Thresholds = Thresholds()


def results_of(low=0.96, **more):
    fields = {"n": 5000, "threshold_name": "accuracy"}
    accuracy = [
        verdicts.claim("accuracy", "Right class", 0.97, (low, 0.98), ">=", 0.95, seed=seed, **fields) for seed in (0, 1)
    ]
    axes = (results.Axis("guidance scale", (0, 1.5, 12)), results.Axis("sampler", ("ddim", "ddpm")))
    parts = {
        "seeds": (0, 1),
        "seconds": {"train": 12.5},
        "environment": ENVIRONMENT,
        "figures": [results.Figure("samples.png", "One class a row")],
        "tables": [
            results.Table(
                "Guidance", ("scale", "accuracy", "note"), ((1.0, (0.97, 0.96, 0.98), "plain"), (2, None, "strong"))
            )
        ],
        "explorers": [results.Explorer("explorer.png", "Four classes", axes, start=(2, 0))],
    }
    return results.conclude("digits", "Does it work?", Config(), accuracy, **(parts | more))


def edited(path, change):
    """Changes the data of a results.json."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_results_come_back_equal(tmp_path):
    path = results.write(results_of(), tmp_path)
    assert path == tmp_path / "results.json"
    assert results.read(tmp_path) == results.read(path) == results_of()


def test_the_file_holds_the_fields_that_a_reader_is_promised(tmp_path):
    data = json.loads(results.write(results_of(), tmp_path).read_text())
    assert {
        "name",
        "verdict",
        "commit",
        "dirty",
        "config",
        "seeds",
        "versions",
        "machine",
        "seconds",
        "claims",
    } <= data.keys()
    assert {"id", "statement", "value", "interval", "relation", "threshold", "n", "seed", "verdict"} <= data["claims"][
        0
    ].keys()
    assert data["config"] == {"steps": 50, "guidance": [1.0, 2.0], "thresholds": {"accuracy": 0.95}}


def test_the_verdict_follows_from_the_claims_but_for_a_smoke_run():
    assert (results_of().verdict, results_of(low=0.94).verdict, results_of(smoke=True).verdict) == (
        "PASS",
        "INCONCLUSIVE",
        "INCONCLUSIVE",
    )


def test_a_nan_measurement_is_written_as_valid_json_and_fails(tmp_path):
    broken = verdicts.claim("a", "a", float("nan"), (float("nan"), float("nan")), "<=", 1.0, n=10, seed=0)
    outcome = results.conclude("x", "?", {}, [broken], seeds=(0,), seconds={}, environment=ENVIRONMENT)
    text = results.write(outcome, tmp_path).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is invalid JSON"))
    assert results.read(tmp_path).verdict == "FAIL"


@pytest.mark.fault("damaged file of results")
@table(
    ("change", "message"),
    [
        (lambda data: data.update(verdict="FAIL"), "verdict = 'FAIL' contradicts the claims, which give PASS"),
        (
            lambda data: data["claims"][1].update(threshold=0.99),
            "claims[1]: verdict = 'PASS' of claim 'accuracy' contradicts its numbers",
        ),
        (lambda data: data["claims"][1].update(threshold=0.9), "claim 'accuracy' has different values of threshold"),
        (
            lambda data: data["claims"][0].update(interval=[0.96]),
            "claims[0].interval: Expected `array` of length 2, got 1",
        ),
        (lambda data: data["claims"][0].pop("seed"), "claims[0]: Object missing required field `seed`"),
        (
            lambda data: data["figures"][0].update(file="../secret.png"),
            "figures[0]: file = '../secret.png' must be the plain name",
        ),
        (
            lambda data: data["claims"][0].update(figure="a.png"),
            "claim 'accuracy' has different values of figure in its seeds",
        ),
        (
            lambda data: [claim.update(figure="a.png") for claim in data["claims"]],
            "'a.png' of claim 'accuracy' is none of explorer.png, samples.png",
        ),
        (
            lambda data: data["explorers"][0].update(file="a.jpg"),
            "explorers[0]: file = 'a.jpg' must be the plain name of a .png",
        ),
        (
            lambda data: data["explorers"][0].update(start=[3, 0]),
            "start = (3, 0) of explorer 'explorer.png' is no place on axes of (3, 2)",
        ),
        (lambda data: data["explorers"][0].update(axes=[]), "has no axes"),
        (lambda data: data["explorers"][0]["axes"][0].update(values=[]), "axis 'guidance scale' has no values"),
        (
            lambda data: data["tables"][0]["rows"][1].pop(),
            "tables[0]: table 'Guidance': row 1 has 2 cells for 3 columns",
        ),
    ],
)
def test_an_edited_file_is_refused_with_path_and_field(tmp_path, change, message):
    path = results.write(results_of(), tmp_path)
    edited(path, change)
    with pytest.raises(DataError) as caught:
        results.read(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_file_of_before_explorers_and_links_to_figures_can_be_read(tmp_path):
    path = results.write(results_of(explorers=()), tmp_path)
    edited(path, lambda data: [data.pop("explorers"), *(claim.pop("figure") for claim in data["claims"])])
    assert results.read(tmp_path) == results_of(explorers=())


def test_an_explorer_starts_with_the_first_of_each_axis_unless_told():
    assert results.Explorer("a.png", "", (results.Axis("a", (1, 2)), results.Axis("b", (1,)))).start == (0, 0)


def test_the_real_environment_fits_into_results(tmp_path):
    outcome = results_of(environment=environment.environment())
    results.write(outcome, tmp_path)
    assert results.read(tmp_path) == outcome
