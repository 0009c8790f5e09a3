"""Lesson 06: the exercises on turning a classifier into a fully convolutional network."""
