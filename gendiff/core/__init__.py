"""Vocabulary of the library: types, records, arrays, checks, errors."""
