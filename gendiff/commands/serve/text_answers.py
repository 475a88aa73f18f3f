"""From pieces of replies to the answer of a request: one JSON object, or server-sent events while they are written.

The names in both are those of OpenAI's API. What is ours stands beside them: the seed.
"""

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
import numpy as np

from gendiff.commands.serve import reply_text
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.awaited_answer import AwaitedAnswer, Gone
from gendiff.commands.serve.reply_text import Score
from gendiff.commands.serve.scheduler_thread import SchedulerThread
from gendiff.commands.serve.text_batching import Ended, Piece
from gendiff.commands.serve.text_requests import CHAT, TextRequest
from gendiff.language.tokens import LanguageTokenizer

DONE = b"data: [DONE]\n\n"
"""The last event of a stream."""


class TextAnswer(AwaitedAnswer):
    """One request for texts on its way. prompts: ids (s,) of each."""

    last = Ended

    def __init__(
        self,
        scheduler: SchedulerThread,
        request: TextRequest,
        prompts: Sequence[np.ndarray],
        client: str,
        model: str,
        tokenizer: LanguageTokenizer,
    ) -> None:
        super().__init__(scheduler, request, prompts, client)
        self._request, self._is_chat = request, request.route == CHAT
        self._forms = _Forms(tokenizer, request)
        self._read, self._written = sum(map(len, prompts)), 0
        kind, name = ("chatcmpl", "chat.completion") if self._is_chat else ("cmpl", "text_completion")
        self._about = {
            "id": f"{kind}-{secrets.token_hex(12)}",
            "object": name,
            "created": int(time.time()),
            "model": model,
            "seed": request.seed,
        }

    async def json_body(self, gone: Gone) -> dict[str, object] | None:
        """As `AwaitedAnswer`."""
        pieces: dict[int, list[Piece]] = {}
        async with contextlib.aclosing(self.events(gone)) as events:
            async for event in events:
                pieces.setdefault(event.index, []).append(event)
        ends = [each[-1] for each in pieces.values()]
        if sum(isinstance(end, Ended) for end in ends) < self._ticket.count:
            return None
        choices = []
        for index in sorted(pieces):
            text = "".join(piece.part.text for piece in pieces[index])
            content = (
                {"message": {"role": "assistant", "content": text, "refusal": None}}
                if self._is_chat
                else {"text": text}
            )
            scores = [score for piece in pieces[index] for score in piece.part.scores]
            choices.append(self._choice(pieces[index][-1], content, scores))
        return self._about | {"choices": choices, "usage": self._usage()}

    async def streamed(self, gone: Gone) -> AsyncIterator[bytes]:
        """As `AwaitedAnswer`."""
        try:
            if self._is_chat:
                for index in range(self._ticket.count):
                    start = {"index": index, "delta": {"role": "assistant", "content": ""}}
                    yield self._event([start | {"logprobs": None, "finish_reason": None}])
            async with contextlib.aclosing(self.events(gone)) as events:
                async for event in events:
                    text = event.part.text
                    content: dict[str, object] = {"delta": {"content": text} if text else {}}
                    yield self._event(
                        [self._choice(event, content if self._is_chat else {"text": text}, event.part.scores)]
                    )
            if not self.left:
                if self._request.usage:
                    yield self._event([], self._usage())
                yield DONE
        except ApiError as refused:
            yield b"data: " + msgspec.json.encode(refused.body) + b"\n\n"

    def _choice(self, piece: Piece, content: Mapping[str, object], scores: Sequence[Score]) -> dict[str, object]:
        reason = None
        if isinstance(piece, Ended):
            reason, self._written = piece.reason, self._written + piece.tokens
        return {"index": piece.index, **content, "logprobs": self._forms(piece.index, scores), "finish_reason": reason}

    def _event(self, choices: Sequence[object], usage: object = None) -> bytes:
        body = self._about | {"choices": choices}
        if self._is_chat:
            body["object"] = "chat.completion.chunk"
        if self._request.usage:
            body["usage"] = usage
        return b"data: " + msgspec.json.encode(body) + b"\n\n"

    def _usage(self) -> dict[str, int]:
        total = self._read + self._written
        return {"prompt_tokens": self._read, "completion_tokens": self._written, "total_tokens": total}


class _Forms:
    """Tokens with their log-probabilities in OpenAI's forms, of which chat and completions have one each."""

    def __init__(self, tokenizer: LanguageTokenizer, request: TextRequest) -> None:
        self._pieces, self._request = tokenizer.pieces, request
        self._names = {number: name for name, number in tokenizer.special.items()}
        self._offsets: dict[int, int] = {}

    def __call__(self, index: int, scores: Sequence[Score]) -> dict[str, object] | None:
        """Of reply `index`, whose parts come in their order."""
        if not self._request.scored:
            return None
        if self._request.route == CHAT:
            return {"content": [self._of_chat(score) for score in scores], "refusal": None}
        offsets, tokens = [], [self._text(score.token) for score in scores]
        for token in tokens:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(token)
        tops = [
            {self._text(token): value for token, value in ((score.token, score.log_prob), *score.top)}
            for score in scores
        ]
        return {
            "tokens": tokens,
            "token_logprobs": [score.log_prob for score in scores],
            "top_logprobs": tops if self._request.top else None,
            "text_offset": offsets,
        }

    def _of_chat(self, score: Score) -> dict[str, object]:
        others = [self._entry(*each) for each in score.top]
        return self._entry(score.token, score.log_prob) | {"top_logprobs": others}

    def _entry(self, token: int, log_prob: float) -> dict[str, object]:
        return {
            "token": self._text(token),
            "logprob": log_prob,
            "bytes": list(reply_text.written(self._pieces, token)),
        }

    def _text(self, token: int) -> str:
        return self._names.get(token) or reply_text.written(self._pieces, token).decode("utf-8", "replace")
