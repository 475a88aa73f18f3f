"""Tokens of rows with exact masks.

A prompt and its answer become tokens each by itself, as a model that writes the answer has them. What counts is the
answer and the token that ends it: nothing of the prompt, of the template, or behind the end.
"""

import dataclasses
import datetime
from collections.abc import Sequence

import numpy as np

from gendiff.commands.tune.config import TINY, Config
from gendiff.commands.tune.rows import Rows
from gendiff.core.errors import ConfigError, DataError
from gendiff.pipelines import Chat
from gendiff.preferences import instruction

NOW = datetime.datetime(2026, 1, 1)
"""For templates that write the date: a run that goes on tomorrow has the same tokens."""
WIDTH = 64
"""Rows are padded to a multiple of so many tokens."""


def encoded(config: Config, chat: Chat, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The arrays of both parts: tokens and weight (n, s), or (n, 2, s) of pairs; for grpo prompt (n, p) and row (n,).

    ConfigError for a model without a template or an end, DataError, path and line first, for a row that is too long or
    has a special token in a text.
    """
    if chat.template is None and not config.plain:
        raise ConfigError(f"--model {config.model} has no chat template: it goes on with texts, so add --plain")
    end = chat.tokenizer.end
    if end is None:
        raise ConfigError(f"--model {config.model}: its tokenizer has no token that ends an answer")
    both, context = rows.table, chat.network.context
    most = context if config.model == TINY else min(config.length, context)  # its tokens are bytes
    draws = config.method == "grpo"
    texts, longest = [], 0
    for row in both:
        try:
            pairs = [_tokens(chat, config.plain, end, row.messages, answer) for answer in row.answers]
        except ConfigError:
            raise
        except (TypeError, ValueError) as error:
            raise DataError(f"{config.data}:{row.line}: {error}") from error
        needed = max(len(prompt) + (config.max_tokens if draws else len(answer) + 1) for prompt, answer in pairs)
        if needed > most:
            raise DataError(
                f"{config.data}:{row.line}: the row has {needed} tokens with its answer, and --length is "
                f"{config.length} of {chat.network.context} that the model reads: nothing is cut; shorten it"
            )
        longest = max(longest, needed)
        texts += pairs
    prompts, answers = zip(*texts, strict=True)
    width = min(-(-longest // WIDTH) * WIDTH, most)
    arrays: dict[str, np.ndarray]
    if draws:
        arrays = {"prompt": np.full((len(both), width - config.max_tokens), instruction.PADDING, np.int32)}
        for slots, prompt in zip(arrays["prompt"], prompts, strict=True):
            slots[: len(prompt)] = prompt
        arrays["row"] = np.arange(len(both), dtype=np.int32)
    else:
        arrays = instruction.rows(prompts, answers, end=end, length=width)._asdict()
        if config.method == "dpo":
            arrays = {name: array.reshape(len(both), 2, width) for name, array in arrays.items()}
    first = len(rows.training)
    training, held_out = (
        {name: array[part] for name, array in arrays.items()} for part in (slice(first), slice(first, None))
    )
    return training, held_out


def _tokens(
    chat: Chat, plain: bool, end: int, messages: Sequence[dict[str, str]], answer: str
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the prompt, and those of the answer as the template writes it, without its end."""
    tokenizer, context = chat.tokenizer, chat.network.context
    if plain or chat.template is None:
        return tokenizer.prompt(messages[-1]["content"], context), tokenizer.encode(answer)
    template = dataclasses.replace(chat.template, control=(*chat.template.control, *tokenizer.special))
    before = template(messages, now=NOW)
    full = template([*messages, {"role": "assistant", "content": answer}], answer=False, now=NOW)
    if not full.startswith(before):
        raise ValueError("the chat template writes a conversation otherwise once it is answered, so no answer is exact")
    written = full[len(before) :].partition(tokenizer.decode([end], special=True))[0]
    return tokenizer.prompt(before, context, special=True), tokenizer.encode(written, special=True)
