"""Scaling laws of a table of trainings: four fits side by side, with intervals.

gendiff scaling-fit --data FILE.csv
"""
