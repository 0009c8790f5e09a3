"""The checks and hints of each lesson's exercises, and what they are made of."""
