"""Generators and critics, and what critics share."""
