"""Encoders of text and language models as `transformers` stores them, and two that come as packages of pip."""
