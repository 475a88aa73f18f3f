"""Runs an experiment: command line, configuration, run folder, training loop, progress. It knows no science."""
