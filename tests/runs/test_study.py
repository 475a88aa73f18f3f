import dataclasses

import pytest

from gendiff.core.errors import ConfigError
from gendiff.runs import study
from gendiff.runs.reporting import answers
from gendiff.runs.study import Measured, Study, claim, control
from tests.tables import table


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = (0, 1)
    """Seeds."""


def measure(config, folder, progress):
    for seed in config.seeds:
        yield Measured("guidance 1", {"accuracy": (0.95, 0.94, 0.96), "frechet": 1.5}, seed=seed, n=500)
        yield Measured("untrained", {"accuracy": (0.1, 0.05, 0.15)}, seed=seed, n=100)
    yield Measured("time", {"seconds": (2.0, 1.9, 2.1)}, n=7, group="speed")


WORDS = {"accuracy": "share of samples that are as asked for", "frechet": "Fréchet distance", "seconds": "seconds"}
CLAIMS = (
    claim("guidance 1", "accuracy", ">=", 0.9, role="E6", reason="chance is 0.1"),
    claim("guidance 1", "frechet", "<=", 1.0, role="check", reason="real data have 1"),
    claim(
        "time",
        "seconds",
        "<=",
        3.0,
        role="aim",
        reason="a user waits so long",
        statement="seconds for 64 samples",
        id="wait",
    ),
    claim("guidance 9", "accuracy", ">=", 0.9, role="E7", reason="not measured by this preset"),
)
CONTROLS = (control("untrained", "accuracy", against="guidance 1", by="<=", margin=-0.5),)
ANSWER = answers.Answer(text="yes, {guidance-1-accuracy:.0%} of samples", statements={"E6": "{guidance-1-accuracy}"})
TABLES = {"speed": ("Speed", "Idle.")}
STUDY = Study(
    "toy",
    Config,
    {"full": Config()},
    Config(),
    None,
    measure,
    WORDS,
    CLAIMS,
    CONTROLS,
    tables=TABLES,
    answer=ANSWER,
)
MEASURED = study.Measurements(measure(Config(), None, None))


def test_rows_become_claims_of_every_seed_with_their_roles():
    claims = list(STUDY.judge(MEASURED))
    assert [(each.id, each.seed, each.verdict) for each in claims] == [
        *(("guidance-1-accuracy", seed, "PASS") for seed in (0, 1)),
        *(("guidance-1-frechet", seed, "FAIL") for seed in (0, 1)),
        ("wait", None, "PASS"),
        *(("untrained-accuracy", seed, "PASS") for seed in (0, 1)),
    ]
    first, wait, last = claims[0], claims[4], claims[-1]
    assert (first.role, first.essay, first.n, first.statement) == (
        "essay",
        "E6",
        500,
        "guidance 1: share of samples that are as asked for",
    )
    beside = study.Measured("guidance 1", {"seconds": 9.0}, seed=0, n=1)  # another measure, another number
    assert next(STUDY.judge(study.Measurements([*MEASURED, beside]))).n == 500
    assert (wait.role, wait.statement) == ("aim", "seconds for 64 samples")
    assert (last.kind, last.against, last.alone) == ("control", "guidance 1", (0.1, 0.05, 0.15))
    assert last.value == pytest.approx(-0.85) and last.n == 100


@table(
    ("number", "verdict"),
    [
        ((0.3, 0.25, 0.35), "PASS"),
        ((0.8, 0.75, 0.85), "INCONCLUSIVE"),
        ((0.95, 0.93, 0.97), "FAIL"),
    ],
)
def test_a_control_without_a_seed_is_compared_with_the_mean_of_its_treatment(number, verdict):
    treatments = [
        Measured("guidance 1", {"accuracy": (mean, mean - 0.05, mean + 0.05)}, seed)
        for seed, mean in enumerate((0.79, 0.81))
    ]
    row = control("untrained", "accuracy", against="guidance 1", by="<=")
    rows = dataclasses.replace(STUDY, claims=(), controls=(row,))
    (judged,) = rows.judge(study.Measurements([*treatments, Measured("untrained", {"accuracy": number})]))
    assert (judged.verdict, judged.alone, judged.value) == (verdict, number, pytest.approx(number[0] - 0.8))
    assert not list(rows.judge(study.Measurements(treatments)))


def test_every_number_stands_in_the_table_of_its_group():
    sets, speed = STUDY.show(MEASURED)
    assert sets.columns == ("set", "seed", "share of samples that are as asked for", "Fréchet distance")
    assert sets.rows[0] == ("guidance 1", 0, (0.95, 0.94, 0.96), 1.5) and sets.rows[1] == (
        "untrained",
        0,
        (0.1, 0.05, 0.15),
        None,
    )
    assert (speed.title, speed.note, speed.columns, speed.rows) == (
        "Speed",
        "Idle.",
        ("set", "seconds"),
        (("time", (2.0, 1.9, 2.1)),),
    )


def test_the_experiment_has_the_roles_of_the_rows():
    experiment = STUDY.experiment()
    assert experiment.answer.roles == {
        "guidance-1-accuracy": "E6",
        "guidance-1-frechet": "check",
        "wait": "aim",
        "guidance-9-accuracy": "E7",
        "untrained-accuracy": "check",
    }
    assert experiment.answer.text == ANSWER.text
    assert experiment.thresholds["guidance-1-accuracy"] == 0.9 and experiment.thresholds["untrained-accuracy"] == -0.5


@table(
    ("change", "message"),
    [
        ({"claims": (*CLAIMS, CLAIMS[0])}, "has two rows called 'guidance-1-accuracy'"),
        ({"words": {}}, "claims something of 'accuracy', for which `words` has no words"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(STUDY, **change)


def test_means_are_over_seeds():
    assert MEASURED.mean("guidance 1", "frechet") == (1.5, 1.5, 1.5)
    assert MEASURED.names("speed") == ["time"] and MEASURED.names() == ["guidance 1", "untrained", "time"]
    with pytest.raises(KeyError, match="nothing was measured of 'guidance 9'"):
        MEASURED.mean("guidance 9", "frechet")
