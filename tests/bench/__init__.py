"""Measurements of the real daemon, printed as tables with ratios. Nothing here asserts a time."""
