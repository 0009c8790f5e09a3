"""Lesson 02: the exercises on state_dicts."""
