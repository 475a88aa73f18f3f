"""The documentation: built from the docstrings and the pages beside this file."""
