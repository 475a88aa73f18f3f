"""Language models at work: the KV cache, the logits of the next token, and every way to decode."""

from gendiff.language import (
    cache,
    chat_template,
    decoding,
    drafts,
    guess_policy,
    next_logits,
    objective,
    processors,
    scoring,
    speculative,
    tokens,
)
from gendiff.language.beam_search import beam_search
from gendiff.language.budget_forcing import budget_forcing
from gendiff.language.decoding import generate
from gendiff.language.lookahead import lookahead_search
from gendiff.language.next_logits import NextLogits, from_network
from gendiff.language.objective import Texts
from gendiff.language.serving import serve

__all__ = [
    "NextLogits",
    "Texts",
    "beam_search",
    "budget_forcing",
    "cache",
    "chat_template",
    "decoding",
    "drafts",
    "from_network",
    "generate",
    "guess_policy",
    "lookahead_search",
    "next_logits",
    "objective",
    "processors",
    "scoring",
    "serve",
    "speculative",
    "tokens",
]
