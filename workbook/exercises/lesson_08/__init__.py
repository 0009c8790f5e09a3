"""Lesson 08: the exercises on saving and resuming."""
