"""Experiments of the language chapter, one question a folder."""
