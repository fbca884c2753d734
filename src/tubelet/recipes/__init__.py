"""Named runs: ``tubelet train NAME [the function's parameters] --out DIR``."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar

from tubelet.corpus.pipeline import CorpusConfig
from tubelet.recipes import ava as _ava
from tubelet.recipes import clips as _clips
from tubelet.recipes import corpora as _corpora
from tubelet.recipes import own_data as _own_data
from tubelet.recipes import paper_a as _paper_a
from tubelet.recipes import paper_b as _paper_b
from tubelet.recipes import playground as _playground
from tubelet.train.config import RunConfig
from tubelet.types import InputError, did_you_mean

T = TypeVar("T")


class PlaygroundRecipe(Protocol):
    """A function that gives a run for a playground folder."""

    __doc__: str | None

    def __call__(
        self,
        playground: Path,
        *,
        size: str = ...,
        init_from: Path | None = ...,
        learning_rate: float | None = ...,
        seed: int = ...,
    ) -> RunConfig:
        """Return the run."""
        ...


PLAYGROUND_RECIPES: Mapping[str, PlaygroundRecipe] = {
    "pretrain_posts": _playground.pretrain_posts,
    "cofinetune": _playground.cofinetune,
    "transfer_kinetics": _playground.transfer_kinetics,
    "transfer_moments": _playground.transfer_moments,
    "transfer_localise": _playground.transfer_localise,
    "localise_only": _playground.localise_only,
}

Recipe = Callable[..., RunConfig | tuple[RunConfig, ...]]
"""Its parameters become options; several runs are the stages of one after another (``train.stages``)."""

RECIPES: Mapping[str, Recipe] = {
    **PLAYGROUND_RECIPES,
    "transfer": _playground.transfer,
    "train_sets": _playground.train_sets,
    "finetune": _own_data.finetune,
    "finetune_clips": _clips.finetune_clips,
    "pretrain_clips": _clips.pretrain_clips,
    "cofinetune_ava": _ava.cofinetune_ava,
    "transfer_ava": _ava.transfer_ava,
    "paper_a": _paper_a.paper_a,
    "paper_b": _paper_b.paper_b,
}


CorpusRecipe = Callable[..., CorpusConfig]
"""Its parameters become options of ``tubelet corpus build``."""

CORPUS_RECIPES: Mapping[str, CorpusRecipe] = {
    "playground_posts": _corpora.playground_posts,
    "own_posts": _corpora.own_posts,
}
"""The first is built where none is named."""


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name, or your own as ``module:function`` (the current folder is searched too).

    Raises:
        InputError: There is none; the nearest name is offered.
    """
    return _find(name, RECIPES)


def find_corpus_recipe(name: str) -> CorpusRecipe:
    """Return a recipe of a corpus, as ``find_recipe`` does one of a run."""
    return _find(name, CORPUS_RECIPES)


def _find(name: str, known: Mapping[str, Callable[..., T]]) -> Callable[..., T]:
    if name in known:
        return known[name]
    if ":" not in name:
        raise InputError(f"no recipe {name!r}{did_you_mean(name, known)}; tubelet recipes lists them")
    module, function = name.split(":", 1)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Callable[..., T] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"recipe {name}: {error}") from error
    return found
