"""Trained networks as small files that come with the package, each with its card."""
