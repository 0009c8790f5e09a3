"""What stands for a MATLAB value that has no place here."""


class Unread:
    """What is no number, text, cell or struct, such as a function or an object on the GPU: what it is, and no more."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<a MATLAB {self.kind}, not read>"
