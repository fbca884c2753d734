"""Rename and reshape published tensors by a table of rules, strictly: everything in the file has one use, or an error.

A rule says which tensor of ours is made of which tensors of the file, and how. A file is checked against the whole
table before anything is made, so a message shows both lists: what is missing, and what nobody asked for.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tubelet.types import InputError

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def same(tensor: Tensor) -> Tensor:
    """Return it unchanged: the published tensor is laid out as ours."""
    return tensor


@dataclass(frozen=True, slots=True)
class Rule:
    """How one tensor of ours comes about."""

    target: str
    """Its name in :class:`tubelet.models.model.VideoModel`'s state dict."""
    sources: tuple[str, ...]
    """Names in the file; none for a constant."""
    make: Callable[..., Tensor] = same
    """Gets the sources' tensors in order."""


def linear_rules(target: str, source: str) -> list[Rule]:
    """Return the rules of a layer with weight and bias that are laid out as ours."""
    return [Rule(f"{target}.{part}", (f"{source}.{part}",)) for part in ("weight", "bias")]


def no_batches() -> Tensor:
    """Return the batches a batch norm has seen: 0. Only norms that average over all batches read it, ours do not."""
    return torch.zeros((), dtype=torch.int64)


def apply_rules(
    rules: Iterable[Rule], given: Mapping[str, Tensor], *, ignored: Iterable[str] = (), where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Make our tensors of a file's.

    Args:
        rules: The whole table.
        given: The file's tensors.
        ignored: Regular expressions, each for whole names that are known and have no use here.
        where: The file, for messages.

    Returns:
        Tensors by our names, and the names left out because of ``ignored``.

    Raises:
        InputError: Names are missing or left over (both lists), or a tensor has a shape that the rule cannot take.
    """
    rules = list(rules)
    wanted = {name for rule in rules for name in rule.sources}
    left_out = [name for name in given if name not in wanted and any(re.fullmatch(known, name) for known in ignored)]
    missing = sorted(wanted - set(given))
    extra = sorted(set(given) - wanted - set(left_out))
    if missing or extra:
        raise InputError(f"{where}: not the expected layout: missing {missing}, unexpected {extra}")
    made = {}
    for rule in rules:
        try:
            made[rule.target] = rule.make(*(given[name] for name in rule.sources)).contiguous()
        except (RuntimeError, ValueError, IndexError) as error:
            shapes = ", ".join(f"{name} {tuple(given[name].shape)}" for name in rule.sources)
            raise InputError(f"{where}: {rule.target} cannot be made of {shapes} ({error})") from None
    return made, left_out


def single(names: Iterable[str], pattern: str, *, where: Any = "the file") -> str:
    """Return the one name that matches a regular expression.

    Raises:
        InputError: None does, or several do.
    """
    found = [name for name in names if re.fullmatch(pattern, name)]
    if len(found) != 1:
        raise InputError(f"{where}: expected one tensor named {pattern}, found {found}")
    return found[0]
