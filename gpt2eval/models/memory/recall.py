"""Open a named model: remembered where nothing has changed, and loaded when it first scores.

What is remembered can only save time. A model that is loaded after all must be what was
remembered of it. Otherwise `OutdatedMemoryError` hands it over, and the caller starts again.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.http import hide_environment
from gpt2eval.models import identified, registry
from gpt2eval.models.memory import machine
from gpt2eval.models.memory.facts import FORMAT, Facts, facts_of, read_facts, write_facts
from gpt2eval.models.memory.sources import Sources, find_sources, is_remembered
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenized import TokenizedModel
from gpt2eval.notices import notify
from gpt2eval.types import Model, Request, TokenScores

FOLDER = ".models"  # below the folder of results; no model's own folder begins with a dot


class OutdatedMemoryError(Exception):
    """A loaded model is not what was remembered of it; `model` is the loaded one."""

    def __init__(self, model: Model) -> None:
        super().__init__("what was remembered of the model is outdated")
        self.model = model


class RememberedModel(TokenizedModel):
    """A model of which everything but the weights is known; they are loaded when it first scores.

    It has the capabilities of the loaded model. Scoring raises OutdatedMemoryError if the loaded
    model is not the remembered one.
    """

    def __init__(self, facts: Facts, tokenizer: LoadedTokenizer, memory: "Memory") -> None:
        super().__init__(tokenizer, facts.identity, facts.context, facts.sizes)
        self._facts = facts
        self._memory = memory
        self._loaded: Model | None = None
        self._is_outdated = False
        # Optional capabilities are recognized by their names, see `gpt2eval.types`.
        for name in facts.capabilities:
            if not hasattr(self, name):
                setattr(self, name, partial(self._call, name))

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Score a batch, see `Model`."""
        return self._call("score", batch)

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        # A batch may be started after the one that found the memory outdated.
        if self._loaded is None:
            self._loaded, facts = self._memory.load()
            self._is_outdated = facts != self._facts
        if self._is_outdated:
            raise OutdatedMemoryError(self._loaded)
        return getattr(self._loaded, method)(*arguments, **named)


class Memory:
    """What is remembered of one named model with one set of options, below a folder."""

    def __init__(self, name: str, options: LoadOptions, folder: Path) -> None:
        self._name = name
        self._options = options
        self._path = folder / f"{_key(name, options)}.json"

    def open(self) -> Model:
        """Return the remembered model; without one, load it and remember it."""
        found = read_facts(self._path, self._hashes)
        return RememberedModel(*found, self) if found else self.load()[0]

    def load(self) -> tuple[Model, Facts | None]:
        """Load the model, remember it, and return it with what is known of it now."""
        before = find_sources(self._name, self._options, cached=True)
        others_before = before and _hash(before, Sources.others_hash)
        model = registry.load_model(self._name, self._options)
        facts = facts_of(model) if isinstance(model, TokenizedModel) else None
        after = find_sources(self._name, self._options, cached=True)
        others = _hash(after, Sources.others_hash)
        # A file that changes meanwhile may have been loaded before the change.
        if facts and after and others and others_before in (None, others):
            self._remember(facts, after, others)
        return model, facts

    def _remember(self, facts: Facts, sources: Sources, others: str) -> None:
        weights = facts.identity.weights
        if not weights or sources.commit not in ("", weights):
            return
        try:
            write_facts(self._path, facts, {"others": others, "weights": weights})
        except UsageError as error:
            notify(f"the next run loads the model again: {error}")

    def _hashes(self) -> Iterator[tuple[str, str]]:
        """Yield the hashes of the model's files as they are now, the cheapest first."""
        sources = find_sources(self._name, self._options)
        for name, find in (("others", Sources.others_hash), ("weights", Sources.weights_hash)):
            yield name, _hash(sources, find)


def open_model(name: str, options: LoadOptions, out: Path | str | None) -> Model:
    """Return the model that a name refers to, see `registry.load_model`.

    If an earlier run with this output folder loaded the same model, it is loaded only when it has
    to score: its identity and its tokenizer are remembered.

    Raises:
        UsageError: If the name refers to no model, or the model does not load.
    """
    hide_environment()
    registry.check_name(name)
    if out is None or not is_remembered(name, options):
        return registry.load_model(name, options)
    return Memory(name, options, Path(out) / FOLDER).open()


def check_names(model: str | Model, name: str | None) -> None:
    """Raise UsageError for names with which `load_backend` must fail; nothing is loaded."""
    if isinstance(model, str):
        registry.check_name(model)
    if name is not None:
        identified.check_chosen(name)


def load_backend(
    model: str | Model,
    options: LoadOptions,
    name: str | None = None,
    out: Path | str | None = None,
) -> Model:
    """Return a model by its name, or a backend that is checked; under another name if given.

    A model that an earlier run into `out` has loaded is loaded only when it has to score.
    """
    is_named = isinstance(model, str)
    return filed(open_model(model, options, out) if is_named else registry.checked(model), name)


def filed(model: Model, name: str | None) -> Model:
    """Return a model under the name that the user chose, if any."""
    return model if name is None else identified.filed_as(model, name)


def _hash(sources: Sources | None, find: Callable[[Sources], str]) -> str:
    """Return a hash of sources; "" without them, or if a file of them cannot be read."""
    try:
        return find(sources) if sources else ""
    except OSError:  # if loading reads that file, it says so
        return ""


def _key(name: str, options: LoadOptions) -> str:
    """Hash everything besides files that decides what loading finds out."""
    _, rest = registry.split_name(name)
    given = [place for place in (rest, options.tokenizer, options.peft) if place]
    places = [place for place in given if os.path.exists(place)]  # noqa: PTH110
    decides = {
        "format": FORMAT,
        "name": name,
        "options": asdict(options),
        # a relative path is another one in another folder
        "places": [os.path.realpath(place) for place in places],
        "software": machine.software(),
        "hardware": machine.hardware(),
    }
    return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:20]
