"""Lesson 04: the exercises on first convs."""
