"""Trained networks as small files that are committed, each with its card."""
