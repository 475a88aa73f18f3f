"""A committed network of text-to-image, or one that a run left, as what a server draws with."""

import dataclasses
import functools
from collections.abc import Collection
from pathlib import Path

import jax

from gendiff import networks, pipelines
from gendiff.commands import drawing_programs
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.served_network import ReadTexts, ServedNetwork
from gendiff.commands.text_to_image import drawing, options, published, texts
from gendiff.commands.text_to_image.networks import Trained
from gendiff.core.types import Params
from gendiff.data.texts.tokenizer import Tokens
from gendiff.diffusion.types import Level

MOST_STEPS = 1000
"""Of a schedule without a table."""


def read(file: Path, sampler: str | None) -> ServedNetwork:
    """The network of a file. sampler: None is the default of its pictures.

    Raises as `published.read` does, and ConfigError for a sampler that is none.
    """
    texts.check()
    trained, about = published.read(file)
    return served(trained, file.stem, about.data, frozenset(about.words), sampler)


def served(trained: Trained, name: str, about: str, known: Collection[str], sampler: str | None) -> ServedNetwork:
    """known: the words of the training captions."""
    schedule, coder, usual = trained.model.schedule, trained.autoencoder, options.sampling(sampler, None, None)
    pipeline = trained.pipeline(drawing_programs.sampler(usual.sampler, None, schedule))

    def grid(steps: int) -> Level:
        return drawing.visited_levels(trained, dataclasses.replace(usual, steps=steps))

    def encode(params: Params, prompt: Tokens, negative: Tokens) -> tuple[networks.Text, networks.Text]:
        return pipeline.encoded(params, prompt), pipeline.encoded(params, negative)

    def decode(params: Params, latents: jax.Array) -> jax.Array:
        return latents if pipeline.decode is None else pipeline.decode(params["decoder"], latents)

    def latents(params: Params, pictures: jax.Array) -> jax.Array:
        return pictures if coder is None else networks.pure(coder, "encode")(params["decoder"], pictures).mode()

    return ServedNetwork(
        name=name,
        about=about,
        width=trained.side,
        height=trained.side,
        shape=pipeline.shape,
        params=trained.params,
        sampler=pipeline.sampler,
        grid=grid,
        usual_steps=usual.steps,
        most_steps=MOST_STEPS if schedule.table is None else len(schedule.table),
        read=functools.partial(_words, known, trained.negative),
        encode=encode,
        guided=pipeline.guided,
        decode=decode,
        latents=latents,
        temperature=trained.model.temperature,
    )


def _words(known: Collection[str], usual_negative: str, prompt: str, negative: str) -> ReadTexts:
    """usual_negative: stands for a negative prompt that is empty."""
    tokens, notes = _tokens("prompt", prompt, known)
    negative = negative.strip() or usual_negative
    if not negative:
        return ReadTexts(tokens, pipelines.empty_prompt(tokens), notes)
    away, more = _tokens("negative_prompt", negative, known)
    return ReadTexts(tokens, away, [*notes, *more])


def _tokens(field: str, text: str, known: Collection[str]) -> tuple[Tokens, list[str]]:
    """(tokens, without what is told of them, whose length differs; notes). A text that does not fit is refused, not
    cut.
    """
    if not texts.fits(text):
        raise ApiError(
            f"{field} is too long: the network reads {texts.LENGTH} tokens, about as many words; shorten it",
            field=field,
        )
    try:
        tokens = texts.tokens([text])
    except (ValueError, TypeError) as error:
        raise ApiError(f"{field}: {error}", field=field) from error
    notes = [f"{field}: {note}" for note in texts.notes(text, int(tokens.unknown[0]), known)]
    return drawing.bare(tokens), notes
