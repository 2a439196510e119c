"""Quicker ways to the same answers."""
