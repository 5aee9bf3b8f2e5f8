"""What other tools make of the files that gpt2eval reads: naive loops, a recipe, two programs."""

import argparse
import io
import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import loops
from loops import Total

from gpt2eval.config.loader import load_task
from gpt2eval.data.local import file_of
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.prepare import detokenize, published

LOOP = "naive loop"
LOOPED = ("lambada/no_filter", "ptb", "wikitext2", "wikitext103", "lm1b")
LM_EVAL = Path(__file__).resolve().parents[2] / "tests" / "peers" / "run_lm_eval.py"


class Comparison(NamedTuple):
    """A task, the file that both sides read, and what the other tool makes of it."""

    task: str
    file: Path
    tool: str
    ppl: float
    units: int
    acc: float | None = None


class Inputs(NamedTuple):
    """What the other tools are given."""

    model: Path
    files: Mapping[str, Path]
    folder: Path
    options: argparse.Namespace

    def file(self, name: str) -> Path:
        """Return the beginning of a task's file, in a temporary folder, or the complete file."""
        task = load_task(name)
        path = file_of(task, self.files)
        if path is None:
            raise SystemExit(f"validate: no {task.source.file.name} in the folder, for {name}")
        if self.options.complete:
            return path
        limit = self.options.passages if task.name == "lambada" else self.options.lines
        lines = path.read_bytes().splitlines(keepends=True)
        target = self.folder / f"{name.replace('/', '-')}-{path.name}"
        target.write_bytes(b"".join(lines[:limit]))
        return target


@cache
def _loaded(path: Path) -> loops.Model:
    return loops.Model(path)


def naive_loops(inputs: Inputs) -> Iterator[Comparison]:
    """Score every task with a loop whose file is in the folder."""
    for task in LOOPED:
        if file_of(load_task(task), inputs.files):
            yield naive_loop(inputs, task)


def naive_loop(inputs: Inputs, task: str) -> Comparison:
    """Score with a naive loop; gpt2eval detokenizes, and its inverse is checked here."""
    model = _loaded(inputs.model)
    file = inputs.file(task)
    if task == "lambada/no_filter":
        return _compared(task, file, LOOP, loops.lambada(model, file))
    text = file.read_text(encoding="utf-8")
    units = loops.words_and_ends(text)
    if task == "lm1b":
        sentences = [_detokenized(task, line) for line in io.StringIO(text, "\n")]
        return _compared(task, file, LOOP, loops.lines(model, sentences, units))
    return _compared(task, file, LOOP, loops.stream(model, _detokenized(task, text), units))


def _detokenized(name: str, text: str) -> str:
    detokenizer = load_detokenizer(str(load_task(name).detokenizer))
    assert isinstance(detokenizer, Detokenizer)
    detokenized = detokenize(text, detokenizer).text
    assert published(detokenized, detokenizer) == text
    return detokenized


def recipe(inputs: Inputs) -> Iterator[Comparison]:
    """Score with the recipe of the transformers documentation, at the model's full context."""
    model = _loaded(inputs.model)
    file = inputs.file("wikitext2/hf_docs")
    window = model.model.config.max_position_embeddings
    total = loops.hf_docs(model, file.read_text(encoding="utf-8"), window)
    yield _compared("wikitext2/hf_docs", file, "transformers recipe", total)


def _compared(task: str, file: Path, tool: str, total: Total) -> Comparison:
    acc = 100 * total.correct / total.units if task.startswith("lambada") else None
    return Comparison(task, file, tool, math.exp(-total.nats / total.units), total.units, acc)


def lm_eval(inputs: Inputs) -> Iterator[Comparison]:
    """Score with lm-evaluation-harness, its own tasks on rows from the local files."""
    raw = inputs.file("wikitext2/lm_eval")
    pages = loops.pages(raw.read_text(encoding="utf-8"))
    passages = inputs.file("lambada/lm_eval")
    standard = inputs.file("lambada/lm_eval_standard")
    plain = standard.read_text(encoding="utf-8").splitlines()
    rows = {
        "pages": "".join(json.dumps({"page": page}) + "\n" for page in pages),
        "standard": "".join(json.dumps({"text": line}) + "\n" for line in plain),
    }
    for name, content in rows.items():
        (inputs.folder / f"{name}.jsonl").write_text(content, encoding="utf-8")
    command = [inputs.options.peers, LM_EVAL, inputs.model, inputs.folder / "pages.jsonl"]
    command += [passages, inputs.folder / "standard.jsonl"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    made = json.loads(ended.stdout.splitlines()[-1])
    words = sum(len(re.split(r"\s+", page)) for page in pages)
    ppl = made["wikitext_here"]["word_perplexity,none"]
    yield Comparison("wikitext2/lm_eval", raw, "lm_eval wikitext", ppl, words)
    for task, file, name in (
        ("lambada/lm_eval", passages, "openai"),
        ("lambada/lm_eval_standard", standard, "standard"),
    ):
        row = made[f"{name}_here"]
        yield Comparison(
            task,
            file,
            f"lm_eval lambada_{name}",
            row["perplexity,none"],
            int(row["sample_len"]),
            100 * row["acc,none"],
        )


def llama_cpp(inputs: Inputs) -> Iterator[Comparison]:
    """Score with llama.cpp's program: as it is, then with everything in float32.

    As it is, it rounds activations to 8 bits for the product with quantized weights, and keys and
    values to 16 bits. llama.cpp's own `llama-quantize` widens the weights.
    """
    file = inputs.file("wikitext2/llama_cpp")
    program = Path(inputs.options.program)
    widened = inputs.folder / "float32.gguf"
    quantize = program.with_name("llama-quantize")
    _printed([quantize, "--allow-requantize", inputs.model, widened, "F32"])
    in_float32 = ["--cache-type-k", "f32", "--cache-type-v", "f32", "--flash-attn", "off"]
    for tool, model, options in (
        ("llama-perplexity", inputs.model, []),
        ("llama-perplexity in float32", widened, in_float32),
    ):
        command = [program, "--model", model, "--file", file, "--ctx-size", "512"]
        printed = _printed([*command, "--threads", "1", *options])
        final = re.search(r"Final estimate: PPL = (\S+)", printed)
        chunks = re.search(r"over (\d+) chunks", printed)
        if not final or not chunks:
            raise SystemExit(f"validate: no perplexity from {program}: {printed[-500:]}")
        units = 255 * int(chunks[1])  # the second half of 512 tokens, but for the first one
        yield Comparison("wikitext2/llama_cpp", file, tool, float(final[1]), units)


def _printed(command: Sequence[str | Path]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"validate: {command[0]} failed: {ended.stderr[-500:]}")
    return ended.stdout + ended.stderr


TOOLS: Mapping[str, Callable[[Inputs], Iterator[Comparison]]] = {
    "loops": naive_loops,
    "recipe": recipe,
    "lm_eval": lm_eval,
    "llama_cpp": llama_cpp,
}
