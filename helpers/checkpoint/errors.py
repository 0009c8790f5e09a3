"""The one error that everything about saving and resuming raises."""


class CheckpointError(ValueError):
    """A training cannot be saved or resumed; the message says what is in the way, and the way out."""
