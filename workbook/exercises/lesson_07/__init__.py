"""Lesson 07: the exercises on freezing."""
