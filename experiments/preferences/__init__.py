"""Experiments on preferences: instruction tuning, reward models, policies that learn from them, and search at test
time.
"""
