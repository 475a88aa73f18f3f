"""The model card of the network of clips says what its file and the results say."""

import jax

from experiments import video
from gendiff.commands.video import clip_network, draw, networks
from gendiff.commands.video.config import CAUSAL
from gendiff.runs.reporting import results, verdicts

SMOKE = video.EXPERIMENT.smoke


def test_the_card_tells_of_the_file_and_of_the_claims_about_its_network_and_seed(tmp_path):
    assert not list(video.pages(tmp_path))
    params = networks.init(SMOKE, CAUSAL, jax.random.key(0))
    about = clip_network.write(tmp_path / clip_network.NAME, SMOKE, params, 0, 1234)
    assert not list(video.pages(tmp_path))
    claims = [
        verdicts.claim(id, f"the claim {id}", value, (value, value), ">=", 0.5, n=4, seed=seed)
        for id in ("confidence-causal", "confidence-full", "long", "cached")
        for seed, value in ((0, 0.75), (1, 0.25))
    ]
    environment = results.Environment(commit="a" * 40, dirty=False, versions={}, machine={})
    outcome = results.conclude(
        "video", "?", SMOKE, claims, seeds=(0, 1), seconds={}, environment=environment, smoke=False
    )
    results.write(outcome, tmp_path)
    ((path, text),) = video.pages(tmp_path)
    assert path == tmp_path / "clips.md"
    for words in (
        "1,234 steps",
        f"{networks.parameters(SMOKE, CAUSAL):,} parameters",
        about.sha256,
        "CC BY 4.0",
        "video --label 3",
    ):
        assert words in text
    rows = [line for line in text.splitlines() if "the claim" in line]
    assert [line.split(" | ")[0] for line in rows] == ["| the claim confidence-causal", "| the claim long"]
    assert all("0.75" in line and line.endswith("| PASS |") for line in rows)  # of the seed of the network


def test_the_committed_network_is_read_whole_and_is_small():
    path = draw.model_file(None)
    config, params, about = clip_network.read(path)
    assert about.licence and about.commit and jax.tree.leaves(params) and config.seeds[0] == about.trained_seed
    assert path.stat().st_size < 8 * 10**6
