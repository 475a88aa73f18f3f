"""Language models at work: what they keep, how they are asked for the next token, and everything that decodes."""

from gendiff.language import cache, next_logits
from gendiff.language.next_logits import NextLogits, from_network

__all__ = ["NextLogits", "cache", "from_network", "next_logits"]
