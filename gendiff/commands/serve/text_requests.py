"""Requests for texts, in the form of OpenAI's API. Fields that would change the reply, and are not done here, are
refused by name; no field is ignored in silence.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from gendiff.commands.serve import request_fields
from gendiff.commands.serve.api_errors import ApiError

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
"""Where requests for texts go, as in OpenAI's API."""
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Of a message, and how the template calls them."""
HOTTEST = 2.0
"""The largest temperature, as in OpenAI's API."""
MOST_TOP = {CHAT: 20, COMPLETIONS: 5}
"""Of the likeliest tokens, how many a request may ask for."""
MOST_STOPS, LONGEST_STOP = 16, 100
MOST_MESSAGES = 1000
LONGEST_NAME = 512
"""Characters of the name of a user."""
FEW = 16
"""Tokens of a reply of COMPLETIONS that says nothing, as in OpenAI's API."""
SHARED = "model n stream stream_options max_tokens temperature top_p stop seed user".split()
FIELDS = {
    CHAT: ("messages", "max_completion_tokens", "logprobs", "top_logprobs", *SHARED),
    COMPLETIONS: ("prompt", "logprobs", *SHARED),
}
NEUTRAL: Mapping[str, Sequence[object]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "echo": (False,),
    "best_of": (1,),
    "suffix": ("",),
}
"""Fields that clients send though they ask for nothing, and the values that do so."""

Message = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class TextLimits:
    """What a server writes. context: tokens of a prompt and its reply. tokens: most of a reply. replies: most of a
    request.
    """

    model: str
    context: int
    tokens: int
    replies: int = 8


@dataclasses.dataclass(frozen=True)
class TextRequest:
    """Replies 0 … n - 1 of a seed to messages, or to each of some prompts.

    longest: most tokens of a reply, None as many as there are.
    max_tokens: the same, once the prompts are read. stream: whether the answer is a stream of events. usage: whether
    its last one counts tokens. scored: whether tokens are told with their log-probabilities. top: how many others.
    """

    route: str
    messages: Sequence[Message] = ()
    prompts: tuple[str, ...] = ()
    n: int = 1
    longest: int | None = None
    max_tokens: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    stream: bool = False
    usage: bool = False
    scored: bool = False
    top: int = 0


def read(route: str, body: bytes, limits: TextLimits) -> TextRequest:
    """The request in the body of a POST.

    Raises ApiError with the field, its value, what is allowed and what to do.
    """
    fields = request_fields.decoded(body, '{"messages": [{"role": "user", "content": "Hello"}]}')
    neutral = {name: fields[name] for name in fields if name in NEUTRAL}
    fields = request_fields.known({name: fields[name] for name in fields if name not in NEUTRAL}, FIELDS[route])
    for name, value in neutral.items():
        if value is not None and value not in NEUTRAL[name]:
            raise ApiError(
                f"{name} = {request_fields.excerpt(value)}: this server has none of it; leave the field out",
                field=name,
            )
    request_fields.check_model(fields, limits.model)
    request_fields.text(fields, "user", LONGEST_NAME)
    messages = _messages(fields) if route == CHAT else ()
    prompts = _prompts(fields, limits) if route == COMPLETIONS else ()
    n = request_fields.integer(fields, "n", 1, limits.replies, 1)
    if max(1, len(prompts)) * n > limits.replies:
        raise ApiError(f"{len(prompts)} prompts with n = {n}: at most {limits.replies} replies are written", field="n")
    scored, top = _scores(fields, route)
    stream = request_fields.flag(fields, "stream")
    return TextRequest(
        route=route,
        messages=messages,
        prompts=prompts,
        n=n,
        longest=_longest(fields, route, limits),
        temperature=request_fields.number(fields, "temperature", HOTTEST, 1.0),
        top_p=request_fields.number(fields, "top_p", 1.0, 1.0),
        stop=_stops(fields),
        seed=request_fields.seed(fields),
        stream=stream,
        usage=_usage(fields, stream),
        scored=scored,
        top=top,
    )


def _messages(fields: Mapping[str, object]) -> list[Message]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MOST_MESSAGES:
        raise ApiError(f"messages must be a list of 1 to {MOST_MESSAGES} messages", field="messages")
    return [_message(f"messages[{number}]", message) for number, message in enumerate(messages)]


def _message(name: str, message: object) -> Message:
    if not isinstance(message, dict):
        raise ApiError(f"{name} = {request_fields.excerpt(message)} must be an object", field=name)
    if unknown := [field for field, value in message.items() if value and field not in ("role", "content")]:
        field = f"{name}.{request_fields.printable(unknown[0])}"
        raise ApiError(f"{field} is not read: a message has a role and a content", field=field)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        value = request_fields.excerpt(role)
        raise ApiError(f"{name}.role = {value} must be one of {', '.join(ROLES)}", field=f"{name}.role")
    return {"role": ROLES[role], "content": _content(f"{name}.content", message.get("content"))}


def _content(name: str, content: object) -> str:
    """A text, or a list of parts that are texts."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        raise ApiError(f"{name} = {request_fields.excerpt(content)} must be a text", field=name)
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            value = request_fields.excerpt(part)
            raise ApiError(f"{name} holds {value}: only texts are read, as parts of type text", field=name)
        texts.append(text)
    return "".join(texts)


def _prompts(fields: Mapping[str, object], limits: TextLimits) -> tuple[str, ...]:
    prompt = fields.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts or not all(isinstance(each, str) for each in prompts):
        value = request_fields.excerpt(prompt)
        raise ApiError(f"prompt = {value} must be a text, or a list of texts: ids are not read", field="prompt")
    if len(prompts) > limits.replies:
        raise ApiError(f"prompt has {len(prompts)} texts: at most {limits.replies} are read", field="prompt")
    return tuple(prompts)


def _longest(fields: Mapping[str, object], route: str, limits: TextLimits) -> int | None:
    names = [name for name in ("max_completion_tokens", "max_tokens") if name in fields]
    if not names:
        return None if route == CHAT else min(FEW, limits.tokens)
    values = {request_fields.integer(fields, name, 1, limits.tokens, None) for name in names}
    if len(values) > 1:
        raise ApiError("max_tokens is the old name of max_completion_tokens, and they differ", field="max_tokens")
    return values.pop()


def _stops(fields: Mapping[str, object]) -> tuple[str, ...]:
    stop = fields.get("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if (
        not isinstance(stops, list)
        or len(stops) > MOST_STOPS
        or not all(isinstance(each, str) and 1 <= len(each) <= LONGEST_STOP for each in stops)
    ):
        raise ApiError(
            f"stop = {request_fields.excerpt(stop)} must be a text of 1 to {LONGEST_STOP} characters, or at most "
            f"{MOST_STOPS} of them",
            field="stop",
        )
    return tuple(stops)


def _usage(fields: Mapping[str, object], stream: bool) -> bool:
    options = fields.get("stream_options", {})
    if not isinstance(options, dict) or not options.keys() <= {"include_usage", "include_obfuscation"}:
        value = request_fields.excerpt(options)
        raise ApiError(f"stream_options = {value} must be an object with include_usage", field="stream_options")
    if "stream_options" in fields and not stream:
        raise ApiError("stream_options are for a stream: add stream = true, or leave them out", field="stream_options")
    return request_fields.flag(options, "include_usage")


def _scores(fields: Mapping[str, object], route: str) -> tuple[bool, int]:
    """(whether tokens are told with their log-probabilities, how many others beside each)."""
    most = MOST_TOP[route]
    if route == COMPLETIONS:
        return "logprobs" in fields, request_fields.integer(fields, "logprobs", 0, most, 0)
    scored, top = request_fields.flag(fields, "logprobs"), request_fields.integer(fields, "top_logprobs", 0, most, 0)
    if top and not scored:
        raise ApiError(
            "top_logprobs stand beside logprobs: add logprobs = true, or leave them out", field="top_logprobs"
        )
    return scored, top
