"""A model card says what its file and the results say."""

import dataclasses
import hashlib

import numpy as np
import pytest

from experiments.diffusion import text_to_image
from experiments.diffusion.text_to_image import cards, publishing
from gendiff.commands.text_to_image import networks, published
from gendiff.commands.text_to_image.networks import Trained
from gendiff.runs.reporting import results, verdicts

CONFIG = text_to_image.EXPERIMENT.smoke


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Results with every claim, and the files of both networks, of which each holds two numbers."""
    monkeypatch.setattr(published, "encoder_digests", lambda name: {"tokenizer.json": hashlib.sha256().hexdigest()})
    monkeypatch.setattr(published, "_with", lambda trained, arrays, dtype: trained.params)
    claims = [
        verdicts.claim(row.id, f"the claim {row.id}", 0.25, (0.125, 0.375), ">=", 0.1, n=4, seed=seed)
        for row in text_to_image.STUDY.rows
        for seed in ((0, 1) if row.id == "held-out" else (None,))
    ]
    environment = results.Environment(commit="a" * 40, dirty=False, versions={}, machine={})
    outcome = results.conclude(
        "text-to-image", "?", CONFIG, claims, seeds=(0,), seconds={}, environment=environment, smoke=False
    )
    results.write(outcome, tmp_path)
    for called, name in published.MODELS.items():
        stored = Trained(CONFIG, name, {"text": {}, "network": {"a": np.ones(1234, np.float32)}})
        write = (stored, lambda params: np.zeros((1, 1, 1, 3)), {"red", "cat"})
        published.write(
            tmp_path / f"{called}.safetensors", *write, **publishing.origin(CONFIG, name), trained_seed=0, checkpoint=7
        )
    return tmp_path


def test_each_card_has_its_own_licence_claims_limits_and_example(folder):
    written = {path.name: text for path, text in cards.pages(folder)}
    assert set(written) == {"emoji.md", "shapes.md"}
    assert (
        "CC BY-SA 4.0. All emojis designed by OpenMoji" in written["emoji.md"]
        and "| Apache-2.0 |" in written["shapes.md"]
    )
    for called, name in published.MODELS.items():
        text = written[f"{called}.md"]
        assert f"--model {called} --prompt" in text and "network 1,234" in text and "2 different words" in text
        ids = {row.id for row in text_to_image.STUDY.rows if f"| the claim {row.id} |" in text}
        assert ids == set(cards.MEASURED[name])
        assert all(limit in text for limit in cards.LIMITS[name])


def test_the_card_of_emoji_of_several_styles_names_each_author_with_the_licence():
    drawings = dataclasses.replace(CONFIG.drawings, styles=("openmoji", "twemoji", "noto"))
    origin = publishing.origin(dataclasses.replace(CONFIG, drawings=drawings), networks.EMOJI)
    assert origin["data"].startswith("drawings of OpenMoji, Twemoji, Noto, their")
    assert origin["licence"] == "CC BY-SA 4.0 (OpenMoji), CC-BY-4.0 (Twemoji), Apache-2.0 (Noto)"
    assert [name in origin["attribution"] for name in ("OpenMoji", "Twitter", "Google", "Microsoft")] == [True] * 3 + [
        False
    ]


def test_every_claim_is_on_a_card_but_for_controls_and_comparisons():
    named = {name for names in cards.MEASURED.values() for name in names}
    assert {row.id for row in text_to_image.STUDY.claims} - named == {"frozen-less-scratch", "emoji-ordinary-drawings"}


def test_a_folder_without_results_or_networks_has_no_card(folder, tmp_path):
    (folder / "emoji.safetensors").unlink()
    assert [path.stem for path, _ in cards.pages(folder)] == ["shapes"]
    (folder / results.FILE).unlink()
    assert not list(cards.pages(folder)) and networks.EMOJI in cards.MEASURED
