"""Smoke runs of all studies. Those that a study's own tests go on with stand there."""

import pytest

from tests.experiments.studies import smoke

ELSEWHERE = ("certify", "invariance", "gan-stability", "gan-progressive", "multimodal", "video")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in smoke.LEAVES if name not in ELSEWHERE])
def test_a_smoke_run_leaves_everything_and_proves_nothing(name, tmp_path, capsys):
    outcome = smoke.run(name, tmp_path / "run", capsys)
    if name == "forward":  # nothing is trained, so that even a smoke run must be right
        assert {claim["verdict"] for claim in outcome["claims"]} == {"PASS"}
