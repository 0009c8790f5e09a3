"""Lesson 05: the exercises on heads."""
