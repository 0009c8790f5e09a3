"""Lesson 00: how exercises work."""
