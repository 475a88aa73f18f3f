"""The card of each committed network: what it is, what it learned from and under which licence, what was measured, what
it cannot do.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gendiff.commands.images.image_training import Learning
from gendiff.commands.text_to_image import networks, published, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.runs.reporting import json_files, model_cards, results
from gendiff.runs.reporting.results import Results
from gendiff.weights import files

MEASURED: Mapping[str, tuple[str, ...]] = {
    networks.FROZEN: ("held-out", "held-out-rising", "less-diverse", "oversaturated-clipped", "oversaturated-contrast"),
    networks.EMOJI: (
        "emoji-retrieved",
        "emoji-retrieved-unseen",
        "emoji-unseen-aim",
        "emoji-ordinary-nouns",
        "emoji-ordinary-combinations",
        "emoji-copies",
        "emoji-colour-follows",
        "emoji-decoded",
    ),
}
"""The claims that are about each network."""
LIMITS: Mapping[str, tuple[str, ...]] = {
    networks.FROZEN: (
        "It draws one or two shapes of few colours, two sizes and four places, and nothing else.",
        "It knows the sentences of one grammar. Other words are ignored, or spoil the picture.",
    ),
    networks.EMOJI: (
        "It has learned from few drawings. The figures above say how often concepts are met that it has not seen.",
        "Its pictures may be close to drawings that it has learned from. Their licence holds for its pictures too.",
        "Its autoencoder blurs fine lines.",
    ),
}
"""What each cannot do, in words."""
EXAMPLES: Mapping[str, str] = {networks.FROZEN: "a small red circle at the top left", networks.EMOJI: "cat face"}
_TEMPLATE = Path(__file__).with_name("card.md.jinja")


def pages(folder: Path) -> Iterator[tuple[Path, str]]:
    """(file, text) of the card of each network in a folder of results."""
    outcome = results.read(folder) if (folder / results.FILE).is_file() else None
    for called in published.MODELS:
        file = folder / f"{called}{published.SUFFIX}"
        if outcome and file.is_file():
            yield folder / f"{called}.md", card(file, outcome)


def card(file: Path, outcome: Results) -> str:
    """The card of one network, as Markdown."""
    about = published.read_about(file)
    config = json_files.decode(Config, about.config, f"{file}: config")
    counts: dict[str, int] = {}
    for name, array in files.load(file).items():
        part = name.split("/")[0]
        counts[part] = counts.get(part, 0) + (0 if name.endswith(published.SCALES) else array.size)
    draws, trainings = f"pictures of {networks.SHAPE[0]}×{networks.SHAPE[0]} pixels", {"network": config.shapes}
    if about.name == networks.EMOJI:
        side = networks.SIDE // networks.FACTOR
        latents = f"latents of {side}×{side} positions and {config.drawings.latent_channels} channels"
        draws = f"pictures of {networks.SIDE}×{networks.SIDE} pixels, by way of {latents}"
        trainings = {"autoencoder": config.drawings.autoencoder, "network of latents": config.drawings.latents}
    return model_cards.render(
        _TEMPLATE,
        file,
        about,
        [claim for claim in outcome.claims if claim.id in MEASURED[about.name]],
        counts={part: f"{count:,}" for part, count in counts.items()},
        changed=f"{about.changed:.2g}",
        level=f"{published.BOUNDS['float16']:.2g}",
        length=texts.LENGTH,
        trainings=[(what, _trained(learning)) for what, learning in trainings.items()],
        limits=LIMITS[about.name],
        example=EXAMPLES[about.name],
        draws=draws,
    )


def _trained(learning: Learning) -> str:
    dropped = f", captions dropped {learning.drop_condition:g} of the time" if learning.drop_condition else ""
    rate = f"learning rate {learning.learning_rate:g}"
    if learning.optimizer == "muon":
        rate = f"Muon with learning rate {learning.muon_learning_rate:g} and AdamW with {learning.learning_rate:g}"
    return f"{learning.train_steps} steps of {learning.batch} pictures, {rate}{dropped}, averaged parameters"
