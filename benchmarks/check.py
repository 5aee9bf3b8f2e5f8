"""Measure the speed of the detokenizers of tasks in both directions, on one core.

python benchmarks/check.py --data demo
python benchmarks/check.py --data ptb=ptb.test.txt --data wikitext2=wiki.test.tokens
python benchmarks/check.py --data ptb=ptb.test.txt --against OTHER_CHECKOUT

It measures every detokenizer of the tasks and their variants, by processor time, as `gpt2eval
check` does it: with counts, text by text. `--against` measures another checkout of gpt2eval on the
same texts, in turns, and compares the detokenized texts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from machine import processor

from gpt2eval.config.loader import load_task
from gpt2eval.text.detokenizer import Detokenizer, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.prepare import detokenize, published

ROOT = Path(__file__).resolve().parent.parent


class Speed(NamedTuple):
    """Seconds of processor time in both directions (0 for one-way schemes), and a hash of the text.

    The hash is of all detokenized texts.
    """

    do: float
    undo: float
    digest: str


def texts_of(data: Sequence[str], most: int) -> dict[str, list[str]]:
    """Return published texts by detokenizer: those of the first task that uses it."""
    from gpt2eval.data import corpus
    from gpt2eval.data.local import parse_data
    from gpt2eval.data.records import scored_texts
    from gpt2eval.settings import Settings

    files = parse_data(list(data)) or {}
    found: dict[str, list[str]] = {}
    for name in files:
        given = load_task(name)
        variants = () if given.variant else given.variants
        for task in (given, *(load_task(f"{name}/{variant}") for variant in variants)):
            reads_it = task.source.file == given.source.file
            if reads_it and task.detokenizer and task.detokenizer not in found:
                content = corpus.load(task, {task.full_name: files[name]}, Settings())
                found[task.detokenizer] = first(scored_texts(task, content), most)
    return found


def first(texts: Sequence[str], most: int) -> list[str]:
    """Return whole lines of the first texts, up to about `most` characters."""
    kept: list[str] = []
    for text in texts:
        if most <= 0:
            break
        end = text.find("\n", most) + 1 or len(text)
        kept.append(text[:end])
        most -= end
    return kept


def measure(texts: Mapping[str, Sequence[str]]) -> dict[str, Speed]:
    """Detokenize the texts and restore them, under the clock."""
    speeds: dict[str, Speed] = {}
    for name, published_texts in texts.items():
        detokenizer = load_detokenizer(name)
        started = time.process_time()
        report = RoundTrip()
        done = [detokenize(text, detokenizer, report).text for text in published_texts]
        do = time.process_time() - started
        undo = 0.0
        if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
            started = time.process_time()
            restored = [published(text, detokenizer) for text in done]
            undo = time.process_time() - started
            assert restored == list(published_texts), name
        digest = sha256("\n".join(done).encode("utf-8", "surrogatepass")).hexdigest()
        speeds[name] = Speed(do, undo, digest)
    return speeds


def measured_apart(checkout: Path, texts: Path) -> dict[str, Speed]:
    """Measure a checkout in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", texts]
    output = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout
    return {name: Speed(*speed) for name, speed in json.loads(output).items()}


def best(rounds: Sequence[Mapping[str, Speed]], name: str) -> Speed:
    """Return the least times of all rounds."""
    speeds = [speeds[name] for speeds in rounds]
    return Speed(min(s.do for s in speeds), min(s.undo for s in speeds), speeds[0].digest)


def rate(chars: int, seconds: float) -> str:
    """Return millions of characters per second; "-" for a direction that does not exist."""
    return f"{chars / seconds / 1e6:.2f}" if seconds else "-"


def compare(texts: Mapping[str, Sequence[str]], checkouts: Sequence[Path], rounds: int) -> None:
    """Measure the checkouts in turns, and print a line per detokenizer."""
    measured: dict[Path, list[dict[str, Speed]]] = {checkout: [] for checkout in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "texts.json")
        path.write_text(json.dumps(texts), encoding="utf-8")
        for _ in range(rounds):
            for checkout in checkouts:
                measured[checkout].append(measured_apart(checkout, path))
    for number, checkout in enumerate(checkouts, 1):
        print(f"{number}: {checkout}")
    head = "".join(f" {f'{number}: do':>8} {'undo':>6}" for number in range(1, len(checkouts) + 1))
    print(f"{'M characters/s':20} {'chars':>9}{head}")
    for name, these in texts.items():
        chars = sum(map(len, these))
        speeds = [best(measured[checkout], name) for checkout in checkouts]
        rates = "".join(f" {rate(chars, s.do):>8} {rate(chars, s.undo):>6}" for s in speeds)
        differs = "" if len({s.digest for s in speeds}) == 1 else "  the texts differ"
        print(f"{name:20} {chars:9,}{rates}{differs}")


def main() -> None:
    """Print the speeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", action="append", metavar="TASK=FILE", help="as for gpt2eval")
    parser.add_argument("--most", type=int, default=1_000_000, help="characters per detokenizer")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the best one counts")
    parser.add_argument("--against", type=Path, help="another checkout of gpt2eval")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        json.dump(measure(json.loads(args.measure.read_text(encoding="utf-8"))), sys.stdout)
        return
    print(processor())
    texts = texts_of(args.data or ["demo"], args.most)
    compare(texts, [ROOT, *filter(None, [args.against])], args.rounds)


if __name__ == "__main__":
    main()
