"""Language models at work: what they keep, how they are asked for the next token, and everything that decodes."""

from gendiff.language import cache, chat_template, decoding, next_logits, processors, tokens
from gendiff.language.decoding import generate
from gendiff.language.next_logits import NextLogits, from_network

__all__ = [
    "NextLogits",
    "cache",
    "chat_template",
    "decoding",
    "from_network",
    "generate",
    "next_logits",
    "processors",
    "tokens",
]
