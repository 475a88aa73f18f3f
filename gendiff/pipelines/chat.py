"""From messages to an answer: write them by the template, read what is new of them, and generate."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from gendiff import language, networks
from gendiff.core import arrays, checks, records
from gendiff.core.types import DType, Params, Scalar
from gendiff.language.chat_template import ChatTemplate, Messages
from gendiff.language.decoding import Generated, OnToken
from gendiff.language.tokens import LanguageTokenizer

SMALLEST = 64
"""The least padded length of a prompt, and room of an answer; more goes to the next power of 2: few shapes compile."""
ROOM = 512
"""Tokens that a cache holds at least."""


@records.record
class Memory:
    """What a model has read, so that the next answer reads only what is new.

    Also known as: prefix caching, KV cache.

    Attributes:
        tokens: (s,) ids of the tokens in the cache.
        cache: of one text.
    """

    tokens: Int32[np.ndarray, " s"]
    cache: language.cache.Cache


@dataclasses.dataclass(frozen=True, eq=False)
class Reply:
    """One answer.

    Attributes:
        text: without special tokens.
        tokens: (n,) ids, that which ended it included.
        log_probs: (n,) of each token in the distribution that it was drawn from.
        finished: whether the model ended it, and not `max_tokens`.
        read: number of tokens of the prompt that were read; the others were in the memory.
        memory: to hand to the next call. It holds a cache, so that many replies that are kept fill the memory.
    """

    text: str
    tokens: Int32[np.ndarray, " n"]
    log_probs: Float[np.ndarray, " n"]
    finished: bool
    read: int
    memory: Memory


@dataclasses.dataclass(frozen=True, eq=False)
class Chat:
    """A language model with its tokenizer and chat template.

    A reply is a function of (parameters, key, index, messages and settings): a memory saves time and changes nothing
    else. It compiles once per length of prompt and cache, each rounded up to a power of 2.

    Args:
        network: whose cache is kept.
        params: its parameters.
        tokenizer: of the same model.
        template: None for a model that only completes texts.

    Raises:
        ValueError: where the tokenizer has more ids than the network.
    """

    network: networks.LanguageModel
    params: Params
    tokenizer: LanguageTokenizer
    template: ChatTemplate | None = None

    def __post_init__(self) -> None:
        self.tokenizer.check_vocabulary(self.network.vocabulary, padded=True)

    def answer(
        self,
        key: jax.Array,
        messages: Messages,
        memory: Memory | None = None,
        *,
        temperature: Scalar = 0.0,
        top_p: Scalar = 1.0,
        max_tokens: int = 256,
        index: int = 0,
        on_token: OnToken | None = None,
    ) -> Reply:
        """Answer the last of some messages.

        Args:
            key: one typed key.
            messages: in their order, each with "role" ("system", "user", "assistant") and "content".
            memory: that of an earlier reply, whatever it was about: what both begin with is not read again.
            temperature: ≥ 0; 0 takes the likeliest token.
            top_p: share of the probability that is drawn from, in [0, 1].
            max_tokens: the largest number of tokens of the answer, ≥ 1.
            index: 0 … 2**32 - 1, which names the answer.
            on_token: called after each token, as `language.decoding.generate` does. Equal ones compile once.

        Raises:
            TypeError: as the template does.
            ValueError: without a template, as the template does, for a special token of the tokenizer in a message, for
                settings outside their ranges, and where messages and answer together are longer than the network's
                context.
            ConfigError: as the template does.
        """
        return self._reply(key, self.prompt(messages), memory, temperature, top_p, max_tokens, index, on_token)

    def complete(
        self,
        key: jax.Array,
        text: str,
        memory: Memory | None = None,
        *,
        temperature: Scalar = 0.0,
        top_p: Scalar = 1.0,
        max_tokens: int = 256,
        index: int = 0,
        on_token: OnToken | None = None,
    ) -> Reply:
        """Go on with a text, without a template. Arguments and errors are those of `answer`."""
        prompt = self.tokenizer.prompt(text, self.network.context)
        return self._reply(key, prompt, memory, temperature, top_p, max_tokens, index, on_token)

    def prompt(self, messages: Messages, context: int | None = None) -> Int32[np.ndarray, " s"]:
        """Return the ids of some messages and of the beginning of an answer. Errors are those of `answer`.

        Args:
            messages: as of `answer`.
            context: the least number of tokens that are too many. None: the network's context.
        """
        if self.template is None:
            raise ValueError("this model has no chat template: it completes texts (complete), or give Chat one")
        template = dataclasses.replace(self.template, control=(*self.template.control, *self.tokenizer.special))
        return self.tokenizer.prompt(template(messages), context or self.network.context, special=True)

    @property
    def cache_dtype(self) -> DType:
        """That of the norms, which no form of weights changes, at least as wide as bfloat16."""
        return jnp.result_type(self.params["output_norm"]["scale"])

    def ends(self) -> Int32[np.ndarray, " n"]:
        """Return the ids of the tokens that end an answer, for `language.generate`'s stop; −1 where there is none."""
        ends = {self.tokenizer.end, *map(self.tokenizer.special.get, language.tokens.ENDS)}
        return np.array(sorted(end for end in ends if end is not None) or [-1], np.int32)

    def _reply(
        self,
        key: jax.Array,
        prompt: Int32[np.ndarray, " s"],
        memory: Memory | None,
        temperature: Scalar,
        top_p: Scalar,
        max_tokens: int,
        index: int,
        on_token: OnToken | None,
    ) -> Reply:
        checks.integer("max_tokens", max_tokens, 1)
        checks.integer("index", index, 0, 2**32 - 1)
        context = self.network.context
        if len(prompt) + max_tokens > context:
            raise ValueError(
                f"{len(prompt)} tokens to read and max_tokens = {max_tokens} are more than the {context} of the model "
                "(context): lower max_tokens, shorten the text, or begin a new conversation"
            )
        most = min(arrays.power_of_two(max_tokens, SMALLEST), context - len(prompt))
        cache, reused = self._start_cache(prompt, memory, most)
        fresh = prompt[reused:]
        padded = np.full((1, min(arrays.power_of_two(len(fresh), SMALLEST), cache.capacity - most)), -1, np.int32)
        padded[0, : len(fresh)] = fresh
        processor = language.processors.chain(
            language.processors.temperature(temperature), language.processors.top_p(top_p)
        )
        generated: Generated = _generate(
            key,
            language.from_network(networks.pure(self.network), self.params),
            cache,
            padded,
            np.array([index], np.uint32),
            max_tokens=most,
            processor=processor,
            num_tokens=np.array(max_tokens, np.int32),
            stop=self.ends(),
            on_token=on_token,
        )
        jax.effects_barrier()
        count = int(generated.length[0])
        tokens = np.asarray(generated.tokens)[0, :count]
        inside = np.concatenate([prompt, tokens])[: int(generated.cache.length[0])]
        return Reply(
            self.tokenizer.decode(tokens),
            tokens,
            np.asarray(generated.log_probs)[0, :count],
            bool(generated.finished[0]),
            len(fresh),
            Memory(inside, generated.cache),
        )

    def _start_cache(
        self, prompt: Int32[np.ndarray, " s"], memory: Memory | None, most: int
    ) -> tuple[language.cache.Cache, int]:
        """A cache with the first tokens of the prompt, and how many; at least one token is left to read."""
        needed = arrays.power_of_two(len(prompt), SMALLEST) + most
        if memory is None or memory.cache.capacity < min(needed, self.network.context):
            capacity = min(arrays.power_of_two(needed, ROOM), self.network.context)
            return language.cache.full(self.network, 1, capacity, self.cache_dtype), 0
        reused = _common(memory.tokens, prompt[:-1])
        return memory.cache.rewound(reused), reused


_generate = jax.jit(language.decoding.generate, static_argnames=("max_tokens", "chunk", "on_token"))


def _common(first: Sequence[int] | np.ndarray, second: np.ndarray) -> int:
    """How many tokens two texts begin with alike."""
    shorter = min(len(first), len(second))
    differ = np.flatnonzero(np.asarray(first)[:shorter] != second[:shorter])
    return int(differ[0]) if differ.size else shorter
