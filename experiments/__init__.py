"""Experiments: each asks one question of the library and answers it with numbers and a verdict."""
