"""Lesson 03: the exercises on loading the part that fits."""
