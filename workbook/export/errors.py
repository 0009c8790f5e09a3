"""The error of this package."""


class ExportError(ValueError):
    """The lessons cannot be exported: not these, not to there, or a solution does not match its exercise."""
