"""Answers of a small language model, once or in a conversation.

gendiff chat --prompt "What is the capital of France?"
"""
