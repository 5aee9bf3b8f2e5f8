"""The files that a named model follows from, found without loading it.

`weights` are hashed exactly as the format hashes them for the model's identity. `others` are the
rest of what loading may read: configuration, tokenizer, adapter. A listed file that does not
matter costs at most one more loading, so a doubtful file is listed.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.http import hub_access
from gpt2eval.models.formats import files
from gpt2eval.models.formats.naming import split_revision
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.registry import split_name
from gpt2eval.models.tokenization.places import VOCABULARY_AND_MERGES, vocabulary_and_merges

# Options under which more decides than files: code of the checkpoint, or several devices.
UNSUPPORTED = ("trust_remote_code", "device_map", "tp", "quantization")
# Files of optimizers and of other frameworks, data, and texts for people: no loading reads them.
UNREAD = {
    *(".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot", ".gguf"),
    *(".jsonl", ".csv", ".parquet", ".arrow", ".zip", ".md", ".log", ".png"),
}
# What transformers may read beside a GGUF file; the folder may hold anything else.
BESIDE_GGUF = (
    *("config.json", "generation_config.json", "adapter_config.json", "tokenizer_config.json"),
    *("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"),
    *("vocab.json", "merges.txt"),
)
# The tokenizers that nanoGPT and llm.c keep beside their weights; without one, the Hub's.
WHOLE_TOKENIZERS = ("meta.pkl", "tokenizer.json")
BESIDE_GPT2 = (*WHOLE_TOKENIZERS, *(name for pair in VOCABULARY_AND_MERGES for name in pair))
GPT2 = "gpt2"
# One of these is in every repository of a model or a tokenizer, and of an adapter.
HUB_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
ADAPTER_FILES = ("adapter_config.json",)
CHOICES = (None, "auto", "file")  # of `--tokenizer`, which name no place


class Sources(NamedTuple):
    """What a model follows from: its files, or instead of its weights its commit on the Hub."""

    weights: Sequence[Path]
    others: Sequence[Path]
    commit: str = ""

    def plus(self, others: Sequence[Path]) -> "Sources":
        """Return these sources with more of the others."""
        return self._replace(others=[*self.others, *others])

    def weights_hash(self) -> str:
        """Return what the model's identity states as its `weights`."""
        return self.commit or files.sha256_of_files(self.weights)

    def others_hash(self) -> str:
        """Return a hash over the others, and over what the hash of the weights leaves out.

        That one covers the concatenated files, not which bytes are in which file.
        """
        others = [(path.name, files.sha256_of_files([path])) for path in self.others]
        sizes = [(path.name, path.stat().st_size) for path in self.weights if path.is_file()]
        return sha256(repr((others, sizes)).encode()).hexdigest()


def is_remembered(name: str, options: LoadOptions) -> bool:
    """Return whether a model may be remembered.

    Servers, factories, plugins and models that take no time to load are not; nor is a model whose
    loading depends on more than files.
    """
    supported = not any(getattr(options, option) for option in UNSUPPORTED)
    return supported and split_name(name)[0] in FINDERS


def find_sources(name: str, options: LoadOptions, *, cached: bool = False) -> Sources | None:
    """Return what a named model follows from; None if that cannot be found.

    A Hub id stands for the commit that the Hub has now, or with `cached` for the one in the cache.
    """
    scheme, rest = split_name(name)
    finder = _Finder(options, cached)
    try:
        sources = FINDERS[scheme](finder, rest)
        return sources and finder.with_places(sources)
    except (OSError, UsageError):
        return None  # loading says what is wrong


class _Finder:
    """Finds the sources of each format."""

    def __init__(self, options: LoadOptions, cached: bool) -> None:
        self._options = options
        self._cached = cached

    def transformers(self, name: str) -> Sources | None:
        name, options = split_revision(name, self._options)
        folder = Path(name)
        if folder.is_dir():
            return _folder(folder, files.transformers_files(folder))
        snapshot = self._snapshot(name, options.revision)
        return snapshot and Sources([], _small_files(snapshot), commit=snapshot.name)

    def demo(self, _: str) -> Sources | None:
        return self.transformers(str(DEMO / "model"))

    def gguf(self, rest: str) -> Sources | None:
        path = Path(rest)
        return Sources([path], _existing(path.parent, BESIDE_GGUF)) if path.is_file() else None

    def gpt2(self, rest: str) -> Sources | None:
        path = Path(rest)
        if not path.is_file():
            return None
        sources = Sources([path], _existing(path.parent, BESIDE_GPT2))
        has_tokenizer = _existing(path.parent, WHOLE_TOKENIZERS)
        if self._options.tokenizer or has_tokenizer or vocabulary_and_merges(path.parent):
            return sources
        return self._with_tokenizer(sources, GPT2)

    def openai(self, rest: str) -> Sources | None:
        return _folder(Path(rest), files.openai_files(Path(rest)))

    def litgpt(self, rest: str) -> Sources | None:
        return _folder(Path(rest), files.litgpt_files(Path(rest)))

    def with_places(self, sources: Sources) -> Sources | None:
        """Return sources with the files of the tokenizer and the adapter that options name."""
        found: Sources | None = sources
        if self._options.tokenizer not in CHOICES:
            found = self._with_tokenizer(found, self._options.tokenizer)
        if found and self._options.peft:
            found = self._with_adapter(found, self._options.peft)
        return found

    def _with_tokenizer(self, sources: Sources, place: str) -> Sources | None:
        path = Path(place)
        if path.is_file():
            beside = _existing(path.parent, BESIDE_GGUF) if path.suffix == ".gguf" else []
            return sources.plus([path, *beside])
        folder = path if path.is_dir() else self._snapshot(place, None)
        return folder and sources.plus(_small_files(folder))

    def _with_adapter(self, sources: Sources, place: str) -> Sources | None:
        path = Path(place)
        folder = path if path.is_dir() else self._snapshot(place, None, ADAPTER_FILES)
        return folder and sources.plus(_read_files(folder))

    def _snapshot(
        self, place: str, revision: str | None, names: Sequence[str] = HUB_FILES
    ) -> Path | None:
        """Return the folder of a Hub id in the cache, named after its commit; None if unknown."""
        from huggingface_hub import hf_hub_download

        def find() -> Path | None:
            for name in names:
                try:
                    path = hf_hub_download(
                        place, name, revision=revision, local_files_only=self._cached
                    )
                    return Path(path).parent
                except Exception:  # the library raises many types: no such file is one
                    continue
            return None

        if self._cached:
            return find()
        with hub_access(f"model {place}", place):
            return find()


FINDERS = {
    "hf": _Finder.transformers,
    "demo": _Finder.demo,
    "gguf": _Finder.gguf,
    "nanogpt": _Finder.gpt2,
    "nanogpt-tanh": _Finder.gpt2,
    "llmc": _Finder.gpt2,
    "openai": _Finder.openai,
    "litgpt": _Finder.litgpt,
}


def _folder(folder: Path, weights: Sequence[Path]) -> Sources:
    """Return the sources of a folder with the given weights."""
    return Sources(weights, [path for path in _read_files(folder) if path not in weights])


def _read_files(folder: Path) -> list[Path]:
    """Return the files that loading a folder may read: those in it, and those an index names."""
    paths = {path for path in folder.iterdir() if path.is_file() and path.suffix not in UNREAD}
    for index in folder.glob("*.index.json"):
        paths.update(_indexed(index))
    return sorted(paths)


def _indexed(index: Path) -> Iterator[Path]:
    weight_map = files.load_json_object(index).get("weight_map")
    for name in set(map(str, weight_map.values())) if isinstance(weight_map, Mapping) else ():
        yield files.path_inside(index.parent, name, index.name)


def _small_files(folder: Path) -> list[Path]:
    """Return the files that loading a folder may read, except weights."""
    weights = files.weight_files(folder)
    return [path for path in _read_files(folder) if path not in weights]


def _existing(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]
