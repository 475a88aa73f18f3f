"""Ordinary prompts of emoji, such as "a cat" and "a red cat", and two judges of what a network draws for them.

A picture counts where both say yes. The classifier looks at what is shown: in its features of grey pictures, the
picture is nearest to the drawings of the prompt's noun, a mean over all styles, among all nouns; and where the prompt
has a colour, at least half of the coloured pixels have it. Retrieval looks at pixels: by means of squares, the picture
is most like the drawing of its noun among many drawings. Where the prompt has a colour all of them have it, and among
them is the right drawing in each other colour.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from experiments.diffusion import captioned_emoji
from experiments.diffusion.captioned_emoji import COLOURS, Pictures
from experiments.diffusion.sweeps import Rows
from gendiff.commands.images.emoji_pictures import at_equal_distances
from gendiff.commands.text_to_image.config import Drawings
from gendiff.core.errors import ConfigError
from gendiff.data import emoji_names
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.study import Measured

NOUNS, COMBINATIONS = "emoji, ordinary nouns", "emoji, ordinary combinations"
REAL, OTHERS = "emoji, the drawings of ordinary prompts", "emoji, pictures of the next ordinary prompt"
Features = Callable[[np.ndarray], np.ndarray]
"""Pictures (n, h, w, 3) in [-1, 1] -> features (n, d)."""


class Prompt(NamedTuple):
    """What is asked for: a noun that has a drawing, and a colour that no drawing of it has, or ""."""

    noun: str
    colour: str = ""

    @property
    def text(self) -> str:
        """As a person would type it."""
        return emoji_names.with_article(f"{self.colour} {self.noun}".strip())


@dataclass(frozen=True, eq=False)
class Judges:
    """What they know. features: of the classifier. squares: means of squares.

    nouns: those among which the classifier chooses, and means (n, d) of the features of their drawings over all styles.
    drawings: the drawing (h, w, 3) of each noun in the style that is judged. others: (n, h, w, 3) further drawings.
    """

    features: Features
    squares: Features
    nouns: tuple[str, ...]
    means: np.ndarray
    drawings: Mapping[str, np.ndarray]
    others: np.ndarray

    def __call__(self, images: np.ndarray, prompts: Sequence[Prompt]) -> Rows:
        """Of each picture whether it is the noun to the classifier, is retrieved, and both."""
        centre = self.means.mean(axis=0)
        rows = unit(self.features(_grey(images)) - centre) @ unit(self.means - centre).T
        named = np.array([self.nouns[row] for row in rows.argmax(axis=1)]) == [prompt.noun for prompt in prompts]
        for colour in {prompt.colour for prompt in prompts} - {""}:
            chosen = [row for row, prompt in enumerate(prompts) if prompt.colour == colour]
            named[chosen] &= captioned_emoji.coloured(images[chosen], [colour] * len(chosen)) >= 0.5
        retrieved = np.array([self._retrieved(*pair) for pair in zip(images, prompts, strict=True)])
        return {
            name: each.astype(float)
            for name, each in (("named", named), ("alike", retrieved), ("both", named & retrieved))
        }

    def real(self, prompt: Prompt) -> np.ndarray:
        """The drawing of a prompt, recoloured where it has a colour."""
        drawing = self.drawings[prompt.noun]
        return captioned_emoji.recoloured(drawing, prompt.colour) if prompt.colour else drawing

    def _retrieved(self, image: np.ndarray, prompt: Prompt) -> bool:
        rest = [drawing for noun, drawing in self.drawings.items() if noun != prompt.noun] + list(self.others)
        if prompt.colour:
            rest = [captioned_emoji.recoloured(drawing, prompt.colour) for drawing in rest]
            rest += [self.real(Prompt(prompt.noun, colour)) for colour in COLOURS if colour != prompt.colour]
        candidates = self.squares(np.stack([self.real(prompt), *rest]))
        centre = candidates.mean(axis=0)
        likeness = unit(candidates - centre) @ unit(self.squares(image[None]) - centre)[0]
        return bool(likeness.argmax() == 0)


def prompts(config: Drawings) -> list[Prompt]:
    """The nouns, then the combinations."""
    pairs = (combination.partition(" ") for combination in config.combinations)
    return [*map(Prompt, config.nouns), *(Prompt(noun, colour) for colour, _, noun in pairs)]


def check(config: Drawings) -> None:
    """ConfigError for a colour or a noun that there is not."""
    names, all_prompts = emoji_names.known_names(), prompts(config)
    for number, prompt in enumerate(all_prompts):
        option = "nouns" if number < len(config.nouns) else "combinations"
        if prompt.noun not in names:
            raise ConfigError(f"--drawings.{option}: {prompt.noun!r} is no name that Unicode has, such as 'cat'")
        if prompt.colour not in ("", *COLOURS):
            raise ConfigError(f"--drawings.{option}: {prompt.colour!r} is none of the colours {', '.join(COLOURS)}")


def judges(config: Drawings, training: Pictures, features: Features, squares: Features) -> Judges:
    """The judges of the prompts of a configuration. training: drawings with captions; some more than the nouns' are
    candidates.

    ConfigError for a noun that is among the held-out drawings.
    """
    all_prompts = prompts(config)
    nouns = tuple(dict.fromkeys(prompt.noun for prompt in all_prompts))
    named = captioned_emoji.named(config, nouns)
    first = named.of_style(config.styles[0])
    if missing := [noun for noun in nouns if noun not in first.names]:
        raise ConfigError(f"--drawings.nouns, --drawings.combinations: no training drawing is called {missing[0]!r}")
    rest = [row for row, name in enumerate(training.names) if name not in nouns]
    others = training.rows(rest).of_style(config.styles[0]).images
    rows, count = features(_grey(named.images)), max(0, config.candidates - len(nouns))
    names = np.array(named.names)
    return Judges(
        features=features,
        squares=squares,
        nouns=nouns,
        means=np.stack([rows[names == noun].mean(axis=0) for noun in nouns]),
        drawings=dict(zip(first.names, first.images, strict=True)),
        others=others[at_equal_distances(len(others), min(count, len(others)))],
    )


def measure(config: Drawings, judge: Judges, pictures: Mapping[int, np.ndarray], scale: float) -> Iterator[Measured]:
    """At the scale that is judged. pictures: by seed, `ordinary_repeats` of each prompt in turn."""
    all_prompts, repeats = prompts(config), config.ordinary_repeats
    repeated = [prompt for prompt in all_prompts for _ in range(repeats)]
    by_seed = {seed: judge(images, repeated) for seed, images in pictures.items()}
    first, firsts = by_seed[config.seeds[0]], pictures[config.seeds[0]][::repeats]
    arrays = {"prompts": all_prompts, "pictures": firsts, "both": first["both"][::repeats]}
    sides = {NOUNS: slice(0, len(config.nouns)), COMBINATIONS: slice(len(config.nouns), None)}
    for name, chosen in sides.items():
        for seed, rows in by_seed.items():
            hits = {key: each.reshape(-1, repeats)[chosen] for key, each in rows.items()}
            yield _measured(name, seed, hits, scale, arrays)
    real = judge(np.stack([judge.real(prompt) for prompt in all_prompts]), all_prompts)
    turned = judge(firsts, [*all_prompts[1:], all_prompts[0]])
    for name, rows in ((REAL, real), (OTHERS, turned)):
        yield _measured(name, None, {key: each[:, None] for key, each in rows.items()})


def unit(rows: np.ndarray) -> np.ndarray:
    """(n, d) of length 1, or 0."""
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled


def _measured(
    name: str, seed: int | None, hits: Rows, scale: float | None = None, arrays: Mapping[str, Any] | None = None
) -> Measured:
    """hits: (prompts, pictures of each). Pictures of one prompt are no independent cases, so prompts are resampled."""
    numbers: dict[str, CellValue] = {} if scale is None else {"w": scale}
    numbers |= {key: intervals.interval(np.mean, rows.mean(axis=1)) for key, rows in hits.items()}
    return Measured(name, numbers, seed, len(hits["both"]), "ordinary", arrays or {})


def _grey(images: np.ndarray) -> np.ndarray:
    return np.broadcast_to(images.mean(axis=-1, keepdims=True), images.shape)
