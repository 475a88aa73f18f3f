"""Language models at work: what they keep, how they are asked for the next token, and everything that decodes."""

from gendiff.language import cache, chat_template, next_logits, tokens
from gendiff.language.next_logits import NextLogits, from_network

__all__ = ["NextLogits", "cache", "chat_template", "from_network", "next_logits", "tokens"]
