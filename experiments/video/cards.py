"""The card of the committed network of clips: what it is, what it learned from and under which licence, what was measured, its limits."""

from collections.abc import Iterator
from pathlib import Path

from gendiff.commands.video import clip_network, networks
from gendiff.commands.video.config import CAUSAL, Config
from gendiff.runs.reporting import json_files, model_cards, results
from gendiff.runs.reporting.results import Results

ABOUT_ROLLOUTS = ("long", "context_noise")
"""Thresholds of the claims that are about the causal network alone, beside those of its clips."""
_TEMPLATE = Path(__file__).with_name("card.md.jinja")


def pages(folder: Path) -> Iterator[tuple[Path, str]]:
    """(file, text) of the card of the network in a folder of results, if both are there."""
    file = folder / clip_network.NAME
    if (folder / results.FILE).is_file() and file.is_file():
        yield file.with_suffix(".md"), card(file, results.read(folder))


def card(file: Path, outcome: Results) -> str:
    """The card, as Markdown."""
    about = clip_network.read_about(file)
    config = json_files.decode(Config, about.config, f"{file}: config")
    claims = [claim for claim in outcome.claims if claim.id.endswith(f"-{CAUSAL}") or claim.threshold_name in ABOUT_ROLLOUTS]
    return model_cards.render(_TEMPLATE, file, about, claims, config=config, parameters=f"{networks.parameters(config, CAUSAL):,}")
