"""Language models at work: what they keep, how they are asked for the next token, and everything that decodes."""

from gendiff.language import cache, chat_template, decoding, next_logits, objective, processors, tokens
from gendiff.language.decoding import generate
from gendiff.language.next_logits import NextLogits, from_network
from gendiff.language.objective import Texts

__all__ = [
    "NextLogits",
    "Texts",
    "cache",
    "chat_template",
    "decoding",
    "from_network",
    "generate",
    "next_logits",
    "objective",
    "processors",
    "tokens",
]
