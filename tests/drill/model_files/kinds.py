"""Model files that the drill damages: how each is made, mutated, read and judged.

Every mutant goes through the stage that reads its kind of file, by the function that loading calls.
Some are loaded as a whole model, too, which takes ten times as long.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch

from drill import attempts, mutations
from drill.attempts import Attempt
from drill.model_files import binary, reference, seeds
from drill.part import Findings, Part
from gpt2eval.models.formats import gguf, hf, litgpt, llmc, nanogpt
from gpt2eval.models.formats.folder import check_folder
from gpt2eval.models.identified import identity_of
from gpt2eval.models.memory.recall import load_backend
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.types import Model, Request

CPU = LoadOptions(device="cpu")
IDS = np.array([3, 9, 27, 81, 243, 10, 30, 90, 270, 5], np.int32)
LARGEST = 1e15  # float32 has no room for the squares of larger weights; float64 has
CLOSE = 1e-4  # nats; float32 against float64
Mutate = Callable[[bytes, Random], bytes]


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        title: Its name in the table.
        file: Its name in the model's folder.
        write: Writes a valid model into a folder.
        mutate: Returns a damaged copy of the file's content.
        stage: Reads the file as loading does, without building the model.
        model: Returns the name by which the whole model is loaded, from the file's path.
        weights: Reads the weights from the file independently, where a score can be checked.
        mentions: What an error may say instead, where files do not fit together, or where all
            weights decide.
        every: One mutant in so many is loaded as a whole model.
        full: Mutants of `make drill`.
    """

    title: str
    file: str
    write: Callable[[Path], object]
    mutate: Mutate
    stage: Callable[[Path], object]
    model: Callable[[Path], str]
    weights: Callable[[Path], reference.Weights] | None = None
    mentions: tuple[str, ...] = (
        *("the tokenizer's", "its tokenizer", "AutoTokenizer"),
        *("its log-probabilities are not finite", "mismatched keys", "missing keys"),
    )
    every: int = 20
    full: int = 10_000


def part(kind: Kind) -> Part:
    """Return the part of the drill that damages a kind of file."""

    def run(cases: int, seed: int, folder: Path) -> Findings:
        torch.set_num_threads(1)
        kind.write(folder)
        original = load_backend(kind.model(folder / kind.file), CPU)
        content = (folder / kind.file).read_bytes()
        attempt = Attempt(
            kind.file,
            lambda random: kind.mutate(content, random),
            lambda path: read(kind, path),
            lambda path, found: wrong(kind, path, found, content, original),
            kind.mentions,
        )
        return attempts.run(attempt, cases, seed, folder)

    what = (
        f"a damaged {kind.file} is refused in one line, or is the model that it says; "
        f"one in {kind.every} is loaded whole"
    )
    return Part(f"model: {kind.title}", what, kind.full, 40, run)


def read(kind: Kind, path: Path) -> object:
    """Read a mutant, and load the whole model if its checksum says so."""
    kind.stage(path)
    if crc32(path.read_bytes()) % kind.every:
        return None
    model = load_backend(kind.model(path), CPU)
    return model, scores(model)


def ids_of(model: Model) -> np.ndarray:
    """Return a few tokens that the model has."""
    vocabulary = int(identity_of(model).shape.rpartition("-")[2])
    return IDS[: model.context + 1] % vocabulary


def scores(model: Model) -> np.ndarray:
    """Return the log-probabilities of a few tokens."""
    ids = ids_of(model)
    return model.score([Request(ids[:1], (ids[1:],))]).logprobs


def wrong(kind: Kind, path: Path, found: Any, content: bytes, original: Model) -> str | None:
    """Return why it is wrong that a whole model was loaded from a mutant, or None."""
    if found is None or path.read_bytes() == content:
        return None
    model, logprobs = found
    ours, theirs = identity_of(model), identity_of(original)
    is_tokenizer = kind.weights is None and ours.weights == theirs.weights
    if is_tokenizer and kind.file == "config.json":
        return "another config has the same hash"
    if is_tokenizer:
        same = vocabulary_of(model) == vocabulary_of(original)
        return None if same or ours.tokenizer != theirs.tokenizer else "another tokenizer unnoticed"
    if ours.weights == theirs.weights:
        return "other weights have the same hash"
    if kind.weights is None or not np.isfinite(logprobs).all():
        return None
    weights = kind.weights(path)
    if max(np.abs(array).max(initial=0) for array in weights.values()) > LARGEST:
        return None
    expected = reference.logprobs(weights, ids_of(model))
    error = np.abs(expected - logprobs).max()
    return None if error < CLOSE * max(1.0, np.abs(expected).max()) else f"scores differ by {error}"


def vocabulary_of(model: Model) -> list[str]:
    """Return how a tokenizer writes its tokens."""
    named: Any = model
    return [named.token_name(token) for token in range(seeds.vocabulary_size() + 10)]


def folder_of(path: Path) -> str:
    """Return the name of the model in a file's folder."""
    return str(path.parent)


def with_scheme(scheme: str) -> Callable[[Path], str]:
    """Return a function that names the model in a file."""
    return lambda path: f"{scheme}:{path}"


def _config(path: Path) -> object:
    check_folder(path.parent)
    return hf.load_config(str(path.parent), CPU)


def _folder(path: Path) -> object:
    return check_folder(path.parent)


def _tokenizer(path: Path) -> object:
    return loading.requested_tokenizer(str(path.parent))


def _pair(path: Path) -> object:
    return loading.from_vocabulary_and_merges(
        path.with_name("vocab.json"), path.with_name("merges.txt")
    )


def _gguf(path: Path) -> object:
    with gguf.open_checked(path):
        return None


def _beside(write: Callable[[Path], None], name: str) -> Callable[[Path], None]:
    """Return a function that writes a file of weights and the tokenizer beside it."""

    def both(folder: Path) -> None:
        write(folder / name)
        seeds.write_tokenizer(folder)
        (folder / "tokenizer.json").unlink()

    return both


def _sharded(folder: Path) -> None:
    seeds.write_transformers(folder, shards=True)


INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
HF = seeds.write_transformers
BYTES = mutations.of_bytes
KINDS = (
    Kind("config.json", "config.json", HF, mutations.of_json, _config, folder_of),
    Kind("tokenizer.json", "tokenizer.json", HF, mutations.of_json, _tokenizer, folder_of),
    Kind(
        "tokenizer_config.json",
        "tokenizer_config.json",
        HF,
        mutations.of_json,
        _tokenizer,
        folder_of,
    ),
    Kind(
        "special_tokens_map.json",
        "special_tokens_map.json",
        HF,
        mutations.of_json,
        _tokenizer,
        folder_of,
        full=3_000,
    ),
    Kind(
        "added_tokens.json",
        "added_tokens.json",
        HF,
        mutations.of_json,
        _tokenizer,
        folder_of,
        full=3_000,
    ),
    Kind(
        "vocab.json",
        "vocab.json",
        _beside(seeds.write_nanogpt, "ckpt.pt"),
        mutations.of_json,
        _pair,
        lambda path: f"nanogpt:{path.with_name('ckpt.pt')}",
    ),
    Kind(
        "merges.txt",
        "merges.txt",
        _beside(seeds.write_nanogpt, "ckpt.pt"),
        BYTES,
        _pair,
        lambda path: f"nanogpt:{path.with_name('ckpt.pt')}",
    ),
    Kind(
        "safetensors",
        WEIGHTS,
        HF,
        binary.of_safetensors,
        _folder,
        folder_of,
        reference.of_safetensors,
    ),
    Kind("index of shards", INDEX, _sharded, mutations.of_json, _folder, folder_of),
    Kind(
        "GGUF",
        "model.gguf",
        lambda folder: seeds.write_gguf(folder / "model.gguf"),
        binary.of_gguf,
        _gguf,
        with_scheme("gguf"),
        reference.of_gguf,
    ),
    Kind(
        "nanoGPT",
        "ckpt.pt",
        _beside(seeds.write_nanogpt, "ckpt.pt"),
        binary.of_archive,
        nanogpt.read,
        with_scheme("nanogpt"),
    ),
    Kind(
        "llm.c",
        "model.bin",
        _beside(seeds.write_llmc, "model.bin"),
        binary.of_llmc,
        llmc.read,
        with_scheme("llmc"),
        reference.of_llmc,
    ),
    Kind(
        "LitGPT config",
        "model_config.yaml",
        seeds.write_litgpt,
        BYTES,
        lambda path: litgpt.read(path.parent),
        lambda path: f"litgpt:{path.parent}",
        mentions=("lit_model.pth",),
    ),
    Kind(
        "LitGPT weights",
        "lit_model.pth",
        seeds.write_litgpt,
        binary.of_archive,
        lambda path: litgpt.read(path.parent),
        lambda path: f"litgpt:{path.parent}",
    ),
)
PARTS = tuple(part(kind) for kind in KINDS)
