"""Which network is in a MATLAB file, and its weights as safetensors.

    python -m helpers.matconvnet FILE [--to WEIGHTS.safetensors]

The status is 0 if the file was read, 1 if it could not be read or nothing could be written, 2 if the call is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from ..atomic_files import replacing
from ..errors import MatConvNetError
from ..text import plain
from . import load_matconvnet


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and write the weights if asked to; the status is returned."""
    asked = _parser().parse_args(arguments)
    show = Bar("reading").show if asked.to and sys.stderr.isatty() else None
    try:
        net = load_matconvnet(asked.file, only_shapes=not asked.to, show=show)
        if show:
            print(file=sys.stderr)
        print("\n".join(plain(line) for line in repr(net).splitlines()))
        print(plain(f"takes {', '.join(net.inputs) or 'nothing'}, gives {', '.join(net.outputs) or 'nothing'}"))
        if asked.to:
            tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
            if not tensors:
                raise MatConvNetError(f"{asked.file} has no weights: nothing was written")
            if Path(asked.to).resolve() == Path(asked.file).resolve():
                raise MatConvNetError(f"{asked.to} is the file that is read: give another name")
            if "__metadata__" in tensors:
                raise MatConvNetError("a parameter is called __metadata__, which safetensors keep for themselves")
            with replacing(asked.to, MatConvNetError) as place:
                save_file(tensors, place)
            print(plain(f"{len(tensors)} tensors written to {asked.to}"))
    except (OSError, ValueError) as error:  # MatConvNetError is a ValueError
        print(plain(str(error)), file=sys.stderr)
        return 1
    return 0


class Bar:
    """How far something is, in one line of a terminal that is written again and again."""

    def __init__(self, what: str) -> None:
        self.what, self.percent = what, -1

    def show(self, share: float) -> None:
        percent = int(100 * share)
        if percent > self.percent:
            self.percent = percent
            sys.stderr.write(f"\r{self.what} [{'#' * (percent // 4):25}] {percent:3} %")
            sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.matconvnet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="a .mat file of version 5, 7 or 7.3")
    parser.add_argument("--to", metavar="WEIGHTS.safetensors", help="write all weights there, in PyTorch's layout")
    return parser


if __name__ == "__main__":
    sys.exit(main())
