"""What is in a checkpoint, and why it does not load: python -m helpers.state_dict CHECKPOINT [MODEL]

MODEL is the name of a torchvision model, such as resnet18.
"""

from __future__ import annotations

import sys

from torchvision import models

from . import explain, read_state_dict


def main(arguments: list[str]) -> int:
    """Print the summary and the explanation; 2 if the call is wrong, 1 if the file cannot be read."""
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        state_dict = read_state_dict(arguments[0])
        model = models.get_model(arguments[1], weights=None) if len(arguments) == 2 else None
    except (OSError, ValueError) as error:  # StateDictError is a ValueError, and so is an unknown model
        print(error, file=sys.stderr)
        return 1
    print(state_dict)
    width = max(map(len, state_dict))
    for key, tensor in state_dict.items():
        print(f"  {key.ljust(width)}  {tuple(tensor.shape)}  {str(tensor.dtype).removeprefix('torch.')}")
    if model is not None:
        print(explain(model, state_dict))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
