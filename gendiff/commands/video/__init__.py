"""Clips of moving digits, frame by frame, by the network that comes with the package.

gendiff video --label 3 --out three.webp
"""
