"""Pictures with captions, and what the parts of a model make of them, once: latents and encoded texts."""

import dataclasses
import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.images import image_features
from gendiff.commands.train.config import Config
from gendiff.core import foreign_files, trees
from gendiff.core.errors import DataError
from gendiff.core.types import ArrayLike, Params
from gendiff.data import caption_files, held_out, image_folder, random_access, scaling
from gendiff.data.images.image_folder import ImageFolder
from gendiff.data.images.random_access import Source
from gendiff.data.texts.tokenizer import TruncationWarning
from gendiff.pipelines.stable_diffusion import Opened, Prompt, TextTowers
from gendiff.runs import devices
from gendiff.runs.progress import Progress

FEWEST, HELD_OUT, SHARE, SEED = 5, 2, 0.1, 0
"""Pictures at least, and of them held out; the share that is held out; the seed of the split."""
WORDS = ("tokens", "pooled", "mask")
"""What may be kept of a caption; `words_of` says what is."""


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionedPictures:
    """Some pictures of a folder with their captions."""

    images: Source
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)

    def pictures(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, h, w, 3) in [-1, 1]."""
        return np.asarray(
            scaling.to_unit(np.stack([self.images.image(int(row)) for row in rows]), self.images.levels), np.float32
        )


def opened(config: Config, size: int, progress: Progress) -> tuple[CaptionedPictures, CaptionedPictures]:
    """Those that are learned from and those that are held out, `size` pixels square.

    Raises DataError for pictures that cannot be read, captions that are missing, and too few pictures.
    """
    files = listed(config, size)
    with image_features.option_errors():
        source = random_access.scan(files)
        for message in source.skipped:
            progress.line(f"left out: {image_features.translated(message)}")
    return split(config, files, source)


def listed(config: Config, size: int) -> ImageFolder:
    """The pictures of the folder, before any is decoded. Raises as `opened` does."""
    with image_features.option_errors():
        return image_folder.source(
            foreign_files.expanded(config.data[0]).absolute(),
            size=size,
            mode="RGB",
            background=config.background,
            on_bad=config.on_bad_image,
            conditional="none",
            captions=True,
        )


def split(config: Config, files: ImageFolder, source: Source) -> tuple[CaptionedPictures, CaptionedPictures]:
    """Those to learn from and those held out. source: the decoded ones of the files. Raises as `opened` does."""
    folder = foreign_files.expanded(config.data[0]).absolute()
    with image_features.option_errors():
        paths = {files.name(row): path for row, path in enumerate(files.files)}
        captions = caption_files.read([paths[source.name(row)] for row in range(len(source))])
        if len(source) < FEWEST:
            few = f"{len(source)} pictures are too few: at least {FEWEST} are needed"
            raise DataError(f"{folder}: {few}, to learn from some and judge by others")
        share = max(SHARE, HELD_OUT / len(source)) if config.held_out is None else config.held_out
        remaining, out = held_out.rows(source.digests(), share, seed=SEED)
    if not len(remaining) or len(out) < HELD_OUT:
        sides = f"leaves {len(remaining)} to learn from and {len(out)} held out"
        raise DataError(
            f"{folder}: --held-out {share:g} of {len(source)} pictures {sides}: 1 and {HELD_OUT} are needed"
        )
    first, second = (
        CaptionedPictures(random_access.subset(source, rows), tuple(captions[row] for row in rows))
        for rows in (remaining, out)
    )
    return first, second


def fingerprint(*parts: CaptionedPictures) -> str:
    """Of pictures and captions; equal if and only if a resumed run sees the same."""
    return random_access.fingerprint(*(value for part in parts for value in (part.images.fingerprint, *part.captions)))


def encoded(
    model: Opened,
    towers: TextTowers,
    params: dict[str, Params],
    part: CaptionedPictures,
    together: int,
    progress: Progress,
    title: str,
) -> dict[str, np.ndarray]:
    """{"mean", "std"} (n, h, w, c) of the latents, and of the captions what `words_of` names: "tokens" (n, s, e),
    "pooled" (n, p), "mask" (n, s).
    """
    prompt = prompt_of(model, part.captions, progress)
    encode, several = networks.pure(model.autoencoder, "encode"), min(together, len(part))

    @devices.jit
    def run(params: dict[str, Params], pictures: np.ndarray, prompt: Prompt) -> dict[str, jax.Array]:
        latent, text = encode(params["autoencoder"], pictures), towers(params["text"], prompt)
        words = {name: getattr(text, name) for name in words_of(model)}
        return {"mean": latent.mean, "std": latent.std(), **trees.cast(words, jnp.float32)}

    encodings: list[dict[str, np.ndarray]] = []
    with progress.task(title, len(part)) as task:
        for begin in range(0, len(part), several):
            # one shape for all, so that one program serves
            rows = np.minimum(np.arange(begin, begin + several), len(part) - 1)
            some = run(params, part.pictures(rows), _of_rows(prompt, rows))
            encodings.append({name: np.asarray(value)[: len(part) - begin] for name, value in some.items()})
            task.update(min(begin + several, len(part)))
    return {name: np.concatenate([some[name] for some in encodings]) for name in encodings[0]}


def words_of(model: Opened) -> tuple[str, ...]:
    """Those of `WORDS` that its network reads."""
    reads = {"tokens": True, "pooled": bool(model.index.kind.pooled), "mask": model.index.kind.masked}
    return tuple(name for name in WORDS if reads[name])


def nothing(model: Opened, towers: TextTowers, params: dict[str, Params]) -> networks.Text:
    """The empty caption, which stands for every one that training drops."""
    empty: networks.Text = jax.block_until_ready(devices.jit(towers)(params["text"], model.negative()))
    return empty


def prompt_of(model: Opened, captions: Sequence[str], progress: Progress) -> Prompt:
    """The captions, each in one row; a line for those that are longer."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TruncationWarning)
        prompt = model.prompt(captions, weighted=False, too_long="warn")
    if caught:
        progress.line(
            f"note: {len(caught)} of {len(captions)} captions are longer than one row of tokens; the first: "
            f"{caught[0].message}"
        )
    return prompt


def _of_rows(prompt: Prompt, rows: np.ndarray) -> Prompt:
    def some(values: tuple[ArrayLike, ...]) -> tuple[ArrayLike, ...]:
        return tuple(value[rows] for value in values)

    return Prompt(some(prompt.ids), some(prompt.weights), prompt.empty, prompt.blank[rows])
