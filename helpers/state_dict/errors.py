"""The one error that everything about checkpoints raises."""


class StateDictError(ValueError):
    """A checkpoint cannot be read, or does not fit a model; the message says why, and the way out."""
