"""A DataLoader that knows where it is, and can go on from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..errors import CheckpointError
from ..random_states import RandomState, check_generator_state, check_random_state, random_state, set_random_state


class ResumableBatches:
    """The batches of a DataLoader; each `for` loop is an epoch, and an interrupted one is continued by the next.

    A batch counts as used as soon as the loop gets it, so save after its step. An epoch ends with its last batch and
    the end of the loop, and also with `break`, `return` or an error: as with any DataLoader, the next loop begins
    anew, and so does one that resumes from what is saved after it. To save at Ctrl-C, save inside the loop.

    To continue in the middle of an epoch, the random states are set back to its start, the batches already used are
    drawn and thrown away, and the random states at the interrupt are put back. So everything that is drawn by torch,
    numpy's global functions, Python's `random`, or a `torch.Generator` of the loader or its samplers is drawn again.
    It costs the loading of those batches, not their training.

    With `num_workers > 0` it is exact, too: the workers' seeds are drawn at an epoch's start. It is not exact

    - with `persistent_workers=True`, if the dataset draws random numbers: the workers' states live through many epochs
      and cannot be read;
    - for a dataset or sampler with a random generator of its own that is not a sampler's `generator`, or with another
      memory of earlier epochs: save it with the checkpoint (`extra`), and set it before the loop.

    Args:
        loader: any DataLoader.

    Raises:
        CheckpointError: it cannot be run through again, as a generator.
    """

    def __init__(self, loader: DataLoader) -> None:
        if not hasattr(loader, "__iter__") or hasattr(loader, "__next__") or isinstance(loader, (str, bytes, dict)):
            raise CheckpointError(f"the loader is a {type(loader).__name__}, which gives no epochs: give a DataLoader")
        self.loader = loader
        self._epoch: object | None = None  # the loop that is running
        self._position = 0  # batches that it has got
        self._start: RandomState | None = None  # random states when it began
        self._resume: dict[str, Any] | None = None  # what was loaded, until the next loop takes it up

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader)

    @property
    def position(self) -> int:
        """Batches of the current epoch that are used; 0 between two epochs."""
        return self._resume["position"] if self._resume else self._position

    @property
    def generators(self) -> list[torch.Generator]:
        """The random generators of the loader and its samplers, each once."""
        batch_sampler = getattr(self.loader, "batch_sampler", None)
        holders = [self.loader, getattr(self.loader, "sampler", None), batch_sampler]
        holders.append(getattr(batch_sampler, "sampler", None))
        found = [getattr(holder, "generator", None) for holder in holders]
        return list({id(generator): generator for generator in found if generator is not None}.values())

    def __iter__(self) -> Iterator[Any]:
        """The batches of the next epoch, or those that an interrupted one has left.

        Raises:
            CheckpointError: the loader ends before the batch at which the epoch was interrupted.
        """
        epoch = self._epoch = object()  # an older loop, if one is left open, is no longer the current one
        resume, self._resume = self._resume, None
        try:
            if resume:
                batches = self._replayed(resume)
            else:
                self._position, self._start = 0, self._now()
                batches = iter(self.loader)
            for batch in batches:
                if self._epoch is epoch:
                    self._position += 1
                yield batch
        finally:
            if self._epoch is epoch:
                self._epoch, self._position, self._start = None, 0, None

    def _replayed(self, resume: dict[str, Any]) -> Iterator[Any]:
        """An iterator over the loader that has drawn the batches already used."""
        interrupt = resume["now"] or self._now()
        self._position, self._start = resume["position"], resume["start"]
        self._set(resume["start"])
        batches = iter(self.loader)
        for drawn in range(resume["position"]):
            try:
                next(batches)
            except StopIteration:
                raise CheckpointError(
                    f"the epoch was interrupted after {resume['position']} batches, and the loader has only {drawn}; "
                    "resume with the same data, batch_size and sampler"
                ) from None
        self._set(interrupt)
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch is, and the random states at its start and now: tensors and numbers only."""
        if self._resume:
            return {**self._resume, "now": self._resume["now"] or self._now()}
        return {"position": self._position, "length": self._length(), "start": self._start, "now": self._now()}

    def load_state_dict(self, state: dict[str, Any], *, restore_random: bool = True) -> None:
        """Let the next `for` loop continue where `state_dict` was called.

        The loader's generators are set now; the global random states in the middle of an epoch only, when it
        continues. Between two epochs they are left alone (`load_checkpoint` restores them).

        Args:
            state: what `state_dict` returned.
            restore_random: False leaves the random states as they are when the loop begins, apart from the replay.

        Raises:
            CheckpointError: it belongs to another loader; this one is as it was.
        """
        self.check_state_dict(state)
        if restore_random:
            for generator, value in zip(self.generators, state["now"]["generators"], strict=True):
                generator.set_state(value)
        resume = {**state, "now": state["now"] if restore_random else None}
        self._epoch, self._position, self._start = None, 0, None
        self._resume = resume if state["position"] else None

    def check_state_dict(self, state: dict[str, Any], file: str = "the state_dict") -> None:
        """See to it that a state belongs to this loader, without changing it.

        Raises:
            CheckpointError: it does not.
        """
        try:
            position, length, now, start = (state[key] for key in ("position", "length", "now", "start"))
            states = [now, start] if position else [now]
            counts = {len(found["generators"]) for found in states}
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{file} has no state of a ResumableBatches; resume without batches") from error
        if length != self._length() or position < 0 or (length is not None and position > length):
            raise CheckpointError(
                f"{file} is at batch {position} of {length}, and this loader has {self._length()}; resume with the "
                "same data, batch_size and drop_last"
            )
        if counts != {len(self.generators)}:
            raise CheckpointError(
                f"{file} has states of {max(counts)} generators, and this loader and its samplers have "
                f"{len(self.generators)}; make the loader with a generator, or without one, as before"
            )
        for found in states:
            check_random_state(found, file)
            for generator, value in zip(self.generators, found["generators"], strict=True):
                check_generator_state(generator, value, file)

    def _length(self) -> int | None:
        try:
            return len(self.loader)
        except TypeError:  # an IterableDataset need not know
            return None

    def _now(self) -> RandomState:
        return {**random_state(), "generators": [generator.get_state() for generator in self.generators]}

    def _set(self, state: RandomState) -> None:
        set_random_state(state)
        for generator, value in zip(self.generators, state["generators"], strict=True):
            generator.set_state(value)
