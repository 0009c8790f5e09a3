"""The one error this room raises about a file."""


class MatConvNetError(ValueError):
    """A file or a layer cannot be used; the message says what was found and what to do."""
