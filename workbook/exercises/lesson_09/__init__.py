"""Lesson 09: the milestones."""
