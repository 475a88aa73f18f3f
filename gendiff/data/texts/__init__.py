"""Texts as they are found, and as ids of tokens."""
