"""Chat templates: messages as the one text that a model was trained to go on with.

A template comes with the weights, from strangers, and is a program. It runs in jinja2's sandbox in a child process,
with limits of time, memory and output.
"""

import datetime
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gendiff.core import child_process, extras, foreign_files, records
from gendiff.core.errors import ConfigError, bounded
from gendiff.core.types import Config

FILE, CONFIG = "chat_template.jinja", "tokenizer_config.json"
SANDBOX = Path(__file__).with_name("sandbox.py")
LARGEST = 2**20
"""Bytes of a template. Those of models have some thousands."""
SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")
Messages = Sequence[Mapping[str, object]]
"""Each with "role", as "system", "user" or "assistant", and "content"."""


@records.record
class ChatTemplate:
    """Calling it turns messages into a text. `load`, `from_text` and `from_gguf` build it.

    Attributes:
        source: the template, in jinja2's language.
        special: the values of bos_token, eos_token and others by name, as the template reads them.
        control: tokens that begin or end a message, none of which may stand in one.
    """

    source: str = records.static()
    special: tuple[tuple[str, str], ...] = records.static(default=())
    control: tuple[str, ...] = records.static(default=())

    def __call__(
        self,
        messages: Messages,
        *,
        answer: bool = True,
        now: datetime.datetime | None = None,
        tools: Sequence[object] | None = None,
        thinking: bool | None = None,
    ) -> str:
        """Write messages as one text.

        Args:
            messages: in their order, each with "role" and "content".
            answer: end with the beginning of an answer (`add_generation_prompt` in the template).
            now: the time, for templates that write the date.
            tools: descriptions of functions, as JSON, that the model may ask for.
            thinking: whether the answer may begin with thoughts (`enable_thinking` in the template). None: it is not
                told.

        Raises:
            TypeError: for what is no list of such messages, and for fields that are no JSON.
            ValueError: for messages that the template refuses (`raise_exception`), and for a token which begins or ends
                a message in any text of the messages or tools.
            ConfigError: for a template that is none, reaches for what the sandbox does not give, runs
                for more than 2 s or needs more than 512 MiB.
        """
        if importlib.util.find_spec("jinja2") is None:
            raise ImportError(extras.needs("chat templates need", "jinja2", "language"))
        _check(messages, tools, self.control)
        variables = {
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": answer,
            "tools": tools,
            "documents": None,
        }
        variables |= {} if thinking is None else {"enable_thinking": thinking}
        request = {
            "source": self.source,
            "variables": dict(self.special) | variables,
            "now": now and now.isoformat(),
        }
        try:
            kind, text = child_process.run(SANDBOX, request)
        except child_process.ChildError as error:
            raise ConfigError(f"the chat template {error}") from error
        if kind == "refusal":
            raise ValueError(f"the chat template refuses these messages: {bounded(text)}")
        if kind == "failure":
            raise ConfigError(f"the chat template {text}")
        return text


def from_text(source: str, special: Mapping[str, str] | None = None, control: Sequence[str] = ()) -> ChatTemplate:
    """A template from its text, as tokenizer_config.json or chat_template.jinja has it.

    Args:
        source: the template, in jinja2's language.
        special: the values of bos_token, eos_token and others by name.
        control: tokens that begin or end a message, none of which may stand in one.
    """
    return ChatTemplate(source, tuple(sorted((special or {}).items())), tuple(control))


def from_gguf(metadata: Config) -> ChatTemplate:
    """The template in the metadata of a GGUF file.

    Raises:
        ConfigError: for a file without a template.
    """
    source = metadata.get("tokenizer.chat_template")
    if not isinstance(source, str):
        raise ConfigError(
            "the metadata hold no tokenizer.chat_template: the model was trained to complete texts, not to answer"
        )
    tokens = metadata.get("tokenizer.ggml.tokens")
    pieces = tokens if isinstance(tokens, list) else []
    numbers = {name: metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "unknown", "padding")}
    ids = {name: at for name, at in numbers.items() if isinstance(at, int) and 0 <= at < len(pieces)}
    special = {f"{name}_token": pieces[at] for name, at in ids.items()}
    kinds = metadata.get("tokenizer.ggml.token_type", [])
    return from_text(source, special, [piece for piece, kind in zip(pieces, kinds, strict=False) if kind == 3])


def load(path: str | os.PathLike[str]) -> ChatTemplate:
    """The template in a folder of `transformers`: chat_template.jinja, or chat_template in tokenizer_config.json.

    Of several templates it is the one called "default". Special tokens of tokenizer.json, where it is there, may not
    stand in messages.

    Args:
        path: the folder.

    Raises:
        ConfigError: for a folder without a template.
        DataError: path first, for a damaged file.
    """
    folder = Path(path)
    config = _object(folder / CONFIG)
    source = config.get("chat_template")
    if isinstance(source, list):
        defaults = [each for each in source if isinstance(each, dict) and each.get("name") == "default"]
        source = defaults[-1].get("template") if defaults else None
    if (folder / FILE).exists():
        source = foreign_files.text(folder / FILE, LARGEST)
    if not isinstance(source, str):
        raise ConfigError(
            f"{folder}: holds no {FILE}, and its {CONFIG} no chat_template: the model was trained to complete texts"
        )
    named = {name: config.get(name) for name in SPECIAL}
    special = {name: token.get("content") if isinstance(token, dict) else token for name, token in named.items()}
    added = _object(folder / "tokenizer.json").get("added_tokens")
    tokens = [token for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    control = [token["content"] for token in tokens if token.get("special") and isinstance(token.get("content"), str)]
    return from_text(source, {name: token for name, token in special.items() if isinstance(token, str)}, control)


def _object(file: Path) -> Config:
    """The object of a JSON file; empty without the file."""
    return foreign_files.json_object(file) if file.exists() else {}


def _check(messages: object, tools: object, control: tuple[str, ...]) -> None:
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise TypeError(
            f"messages must be a list of messages, got {type(messages).__name__}: write [{{'role': 'user', 'content': "
            f"text}}]"
        )
    for number, message in enumerate(messages):
        if (
            not isinstance(message, Mapping)
            or not isinstance(message.get("role"), str)
            or not isinstance(message.get("content"), str)
        ):
            raise TypeError(f"message {number} must have a text as 'role' and one as 'content', got {message!r}")
        for field, value in message.items():
            _check_texts(f"message {number}", f" in its {field!r}", [field, value], control)
    _check_texts("tools", "", tools, control)


def _check_texts(owner: str, where: str, value: object, control: tuple[str, ...]) -> None:
    """Refuse a control token in any text of a value, and what is no JSON, for it could write itself as one."""
    try:
        leaves = list(_leaves(value))
    except RecursionError as error:
        raise ValueError(f"{owner} holds lists{where} that are nested too deeply") from error
    for leaf in leaves:
        if not isinstance(leaf, str | bool | int | float | None):
            raise TypeError(
                f"{owner} holds {type(leaf).__name__}{where}; only texts, numbers, lists and objects of them are "
                "written"
            )
        inside = [token for token in control if isinstance(leaf, str) and token in leaf]
        if inside:
            raise ValueError(
                f"{owner} holds {inside[0]!r}{where}, which begins or ends a message: its writer could speak as another"
            )


def _leaves(value: object) -> Iterator[object]:
    """The entries of lists and objects, with the names in these."""
    if isinstance(value, Mapping):
        value = [part for item in value.items() for part in item]
    if isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value
