"""What words in names say about layers of the same shapes: a key is no value, an encoder no decoder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

OPPOSITES: tuple[Mapping[str, tuple[str, ...]], ...] = (  # what a word means -> how it is written
    {"query": ("q", "wq", "query"), "key": ("k", "wk", "key"), "value": ("v", "wv", "value")},
    {"gate": ("gate",), "up": ("up",), "down": ("down",)},
    {"left": ("left", "l"), "right": ("right", "r")},
    {"mean": ("mu", "mean", "means"), "spread": ("logvar", "var", "sigma", "std", "logstd", "logsigma", "variance")},
    {"forward": ("fwd", "forward", "fw"), "backward": ("bwd", "backward", "bw")},
    {"encoder": ("enc", "encoder", "encode"), "decoder": ("dec", "decoder", "decode")},
    {"teacher": ("teacher",), "student": ("student",)},
    {"source": ("src", "source"), "target": ("tgt", "target", "trg")},
    {"user": ("user", "users"), "item": ("item", "items")},
    {"text": ("text", "txt", "language"), "image": ("image", "img", "visual", "vision")},
    {"generator": ("generator", "gen", "netg"), "discriminator": ("discriminator", "disc", "netd")},
    {"actor": ("actor",), "critic": ("critic",)},
    {"class": ("cls", "class"), "box": ("box", "bbox", "reg"), "mask": ("mask",), "distillation": ("dist",)},
    {"real": ("real",), "imaginary": ("imag", "imaginary")},
    {"row": ("row", "rows"), "column": ("col", "column", "columns")},
)


@lru_cache(maxsize=20_000)
def words(name: str) -> frozenset[str]:
    """The words of a name, without numbers: `layer1.attn_wq` -> layer, attn, wq."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return frozenset(word for word in re.split(r"[._\d]+", apart.lower()) if word)


def contradict(one: str, other: str) -> bool:
    """Whether two names mean opposites, as `enc.0` and `dec.0` do."""
    for meanings in OPPOSITES:
        first, second = _meant(one, meanings), _meant(other, meanings)
        if first and second and not first & second:
            return True
    return False


def by_words(names: Collection[str], others: Collection[str]) -> dict[str, str] | None:
    """Pairs of names that only one pairing makes say the same; None if words do not decide.

    What all names of a side have in common is no evidence. One name that says nothing goes to the one that is left.
    """
    own, own_of_others = _own_words(names), _own_words(others)
    pairs = {}
    for name in names:
        alike = [other for other in others if _alike(own[name], own_of_others[other])]
        if len(alike) == 1:
            pairs[name] = alike[0]
        elif alike:
            return None
    left = [name for name in names if name not in pairs], [name for name in others if name not in pairs.values()]
    if len(left[0]) == len(left[1]) == 1:
        pairs[left[0][0]] = left[1][0]
    return pairs if len(set(pairs.values())) == len(pairs) == len(names) else None


def disagree(names: Collection[str], others: Collection[str]) -> bool:
    """Whether one of `others` says what one of `names` says, and the one in its place does not."""
    own, said = _own_words(names), _own_words(others)
    spoken = frozenset().union(*said.values())
    for name, other in zip(names, others, strict=True):
        may_speak = own[name] & spoken or _meanings(own[name])
        if may_speak and not _alike(own[name], said[other]) and any(_alike(own[name], said[one]) for one in others):
            return True
    return False


def _own_words(names: Collection[str]) -> dict[str, frozenset[str]]:
    """Each name -> its words that not all of the names have."""
    of_all = words(next(iter(names)))
    for name in names:
        of_all &= words(name)
    return {name: words(name) - of_all for name in names}


def _alike(some: frozenset[str], others: frozenset[str]) -> bool:
    if some & others:
        return True
    for meanings in OPPOSITES:
        written = [word for word, ways in meanings.items() if some & set(ways) and others & set(ways)]
        if written:
            return True
    return False


def _meanings(some: frozenset[str]) -> bool:
    """Whether there are opposites among the words."""
    return any(some & set(ways) for meanings in OPPOSITES for ways in meanings.values())


def _meant(name: str, meanings: Mapping[str, tuple[str, ...]]) -> set[str]:
    return {meaning for meaning, ways in meanings.items() if words(name) & set(ways)}
