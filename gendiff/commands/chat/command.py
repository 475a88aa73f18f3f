"""The command `chat`: one answer, or a conversation in the terminal."""

import dataclasses
import functools
import io
import sys
from collections.abc import Iterator

import jax

from gendiff.commands.chat import models
from gendiff.commands.chat.chat_options import ChatOptions
from gendiff.commands.chat.streaming import Writer
from gendiff.core.errors import ConfigError
from gendiff.pipelines import Chat
from gendiff.pipelines.chat import Memory
from gendiff.runs import compile_cache
from gendiff.runs.errors import Preempted
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue

QUESTION = "What is the capital of France?"
NEW = "/new"
"""What a person types to begin another conversation."""


def call(options: ChatOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError without the packages of the model."""
    try:
        chat = _opened(options, progress)
        _talk(chat, options, Writer(chat.tokenizer), progress)
    except Preempted as error:
        raise Preempted(
            str(error), "nothing of the conversation is saved", again="run the same command to begin another"
        ) from None


def _opened(options: ChatOptions, progress: Progress) -> Chat:
    compile_cache.use(say=progress.line)
    chat = models.weighted(options.model, options.weights, options.lora)
    if chat.template is None and not options.plain:
        raise ConfigError(f"--model {options.model} has no chat template: it goes on with texts, so add --plain")
    return chat


def _talk(chat: Chat, options: ChatOptions, writer: Writer, progress: Progress) -> None:
    if options.prompt:
        _turn(chat, options, options.prompt, [], None, writer, progress)
        return
    messages, memory = list[dict[str, str]](), None
    if options.demo:
        progress.line(f"as plain text: {QUESTION}")
        _turn(
            chat,
            dataclasses.replace(options, plain=True, max_tokens=min(options.max_tokens, 48)),
            QUESTION,
            [],
            None,
            writer,
            progress,
        )
        if not options.plain:
            progress.line(f"in the chat template: {QUESTION}")
            messages, memory = _turn(chat, options, QUESTION, [], None, writer, progress)
    if sys.stdin.isatty():
        progress.line(f"Type, and end with Ctrl-D. {NEW} begins another conversation.")
    for line in _typed():
        if line == NEW:
            messages, memory = [], None
            continue
        try:
            if (printable := line.encode(errors="backslashreplace").decode()) != line:
                raise ConfigError(f"{printable} is not in UTF-8")
            messages, memory = _turn(chat, options, line, messages, memory, writer, progress)
        except ConfigError as error:
            if not sys.stdin.isatty():
                raise
            progress.line(f"{error}. Nothing was asked; the conversation goes on.")


def _turn(
    chat: Chat,
    options: ChatOptions,
    text: str,
    messages: list[dict[str, str]],
    memory: Memory | None,
    writer: Writer,
    progress: Progress,
) -> tuple[list[dict[str, str]], Memory | None]:
    """One question and its answer, which is shown as it comes. The conversation with both, and what the model has read
    of it.
    """
    key = jax.random.fold_in(jax.random.key(options.seed), len(messages))
    started = [{"role": "system", "content": options.system}] if options.system and not messages else []
    messages = [*messages, *started, {"role": "user", "content": text}]
    writer.begin()
    try:
        if options.plain:
            answer = functools.partial(chat.complete, key, text)
        else:
            answer = functools.partial(chat.answer, key, messages, memory)
        reply = answer(
            temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens, on_token=writer
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    writer.end()
    how = "" if reply.finished else "; --max-tokens ended it"
    progress.line(
        writer.speed(len(reply.tokens), reply.read) + how + ("" if reply.text.strip() else "; the text ends at once")
    )
    return [*messages, {"role": "assistant", "content": reply.text}], reply.memory


def _typed() -> Iterator[str]:
    """The lines that are typed, without empty ones, up to the end of the input."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a line that is not in UTF-8 is read, and refused
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
