"""Lesson 01: from MATLAB's arrays to PyTorch's tensors."""
