"""Certify the bytes of a file of token ids on a model: the tokens are scored as one stream.

Every trainer that reads such files predicts each token but the first from those before it, in
windows that follow each other. So does this module: nothing is put before the first token.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gpt2eval.analysis.byte_account.account import ByteAccount
from gpt2eval.analysis.byte_account.documents import (
    Decoded,
    adds_blank,
    decoded,
    documents,
    repeated,
)
from gpt2eval.analysis.byte_account.spellings import spellings
from gpt2eval.analysis.byte_account.tasks import Place, account_of
from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import File, Source
from gpt2eval.data.records import Corpus
from gpt2eval.data.token_shards import TokenShard, read_shard
from gpt2eval.errors import UsageError
from gpt2eval.identity import Sized, Spelling, SpellsTokens
from gpt2eval.metrics import protocol as protocols
from gpt2eval.models import identified
from gpt2eval.models.memory.recall import check_names, load_backend
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.registry import split_name
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.fingerprint import CHOICES
from gpt2eval.notices import announce
from gpt2eval.pipeline import undisturbed
from gpt2eval.planning.batch import BatchChoice
from gpt2eval.planning.task_plan import TaskPlan
from gpt2eval.report import store
from gpt2eval.report.writer import ResultWriter
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.settings import Settings
from gpt2eval.text.detokenizer import RoundTrip
from gpt2eval.types import Encoded, Model, Part, Passage, Progress, Record, Units

MOST = 10_485_760  # tokens that modded-nanogpt validates on
TASK = "tokens"  # the task name of token files in results: tokens/NAME
# Formats of weights without a tokenizer: they are loaded with the tokenizer of the tokens.
WITHOUT_TOKENIZER = ("nanogpt", "nanogpt-tanh", "llmc")


@undisturbed()
def check_tokens(
    model: str | Model,
    tokens: str,
    tokenizer: str,
    *,
    most: int = MOST,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    progress: Callable[[Progress], None] = lambda progress: None,
) -> ByteAccount:
    """Score a file of token ids on a model, and account for the bytes of its tokens.

    The bytes are those of the text that the tokens spell. Special tokens, which end documents, have
    none; their nats count. The text of every document is encoded again: it must give the same
    tokens, or else the account is not certified.

    Args:
        model: A name or a backend, as for `evaluate`.
        tokens: `FILE` with a header of llm.c, or `uint16:FILE` or `uint32:FILE` without one.
        tokenizer: The tokenizer of the tokens: a folder, file or Hub id. It must be the model's; to
            use the model's own, `auto`.
        most: The most tokens to use, from the beginning of the file.
        out: A folder of results that keeps the scores, so that an interrupted call resumes.
        settings: `context` and `stride` of the windows, and the size of batches.
        options: How to load the model.
        progress: Called with a `Progress` after every batch.

    Raises:
        UsageError: The file or the model cannot be read, the tokenizer is not the model's, or a
            token is not in its vocabulary.
    """
    settings.check()
    if most < 2:
        raise UsageError(f"--max-tokens {most}: expected 2 or more")
    check_names(model, None)
    if out is not None:
        store.check_writable(Path(out))
    shard = read_shard(tokens, most)
    if len(shard.ids) < 2:
        raise UsageError(f"--tokens {tokens}: one token; expected 2 or more")
    backend = _load(model, tokenizer, options)
    known = _spellings(backend, shard, tokens)
    found = documents(shard.ids, known, is_cut=shard.is_cut)
    stream = decoded(shard.ids, known, found, blank=adds_blank(backend, known))
    if not stream.raw:
        raise UsageError(f"--tokens {tokens}: only special tokens; expected text")
    announce(f"encoding the text of {len(found):,} documents again")
    again = repeated(backend, shard.ids, stream, found)
    writer = ResultWriter(Path(out), identified.identity_of(backend)) if out is not None else None
    task = _task(shard)
    place = Place(writer.journal(task), writer.other_journals(task)) if writer else None
    batch = BatchChoice(backend, settings, [place.journal] if place else [])
    plan = _plan(backend, task, shard, stream, batch.settings(place.journal if place else None))
    skipped = 0 if again.difference else len(found) - again.documents
    facts = [
        ("File", f"{shard.name}, {shard.form}, {len(shard.ids):,} of {shard.held:,} tokens"),
        ("SHA-256", shard.sha256),
        ("Tokenizer", f"{tokenizer}, fingerprint {plan.identity.tokenizer}"),
        ("Documents", f"{len(found):,}; {again.described}"),
    ]
    if skipped:
        facts.append(("Not compared", f"{skipped:,}, cut by an end of the file"))
    account = account_of(backend, plan, place, progress, facts)
    unproven = again.difference or ("" if again.documents else "no document could be encoded again")
    return replace(account, unproven=account.unproven or unproven)


def _load(model: str | Model, tokenizer: str, options: LoadOptions) -> Model:
    """Load the model, and check that the tokenizer of the tokens is its own.

    Raises:
        UsageError: They differ.
    """
    needs_one = isinstance(model, str) and split_name(model)[0] in WITHOUT_TOKENIZER
    given = tokenizer if needs_one or tokenizer in CHOICES else None
    backend = load_backend(model, replace(options, tokenizer=given))
    theirs = loading.requested_tokenizer(tokenizer)
    ours = identified.identity_of(backend).tokenizer
    if theirs and theirs.fingerprint.partition(".")[0] != ours.partition(".")[0]:
        raise UsageError(
            f"--tokenizer {tokenizer}: its fingerprint is {theirs.fingerprint}, and that of the "
            f"model's tokenizer {ours}; expected the tokenizer that the model was trained with"
        )
    return backend


def _spellings(model: Model, shard: TokenShard, place: str) -> Mapping[int, Spelling]:
    """Return what the tokens stand for.

    Raises:
        UsageError: A token is not in the model's vocabulary, or its bytes are not known.
    """
    size = model.sizes().vocabulary if isinstance(model, Sized) else None
    highest = int(shard.ids.max())
    if size is not None and highest >= size:
        at = int(shard.ids.argmax())
        raise UsageError(
            f"--tokens {place}: token {at:,} is {highest:,}; the model's vocabulary has {size:,}"
        )
    known, problem = spellings(model, [shard.ids])
    if problem:
        missing = ""
        if isinstance(model, SpellsTokens):
            at = next(n for n, id_ in enumerate(shard.ids.tolist()) if not model.spelling(id_))
            missing = f"token {at:,}: "
        raise UsageError(f"--tokens {place}: {missing}{problem}; expected the model's tokens")
    return known


def _task(shard: TokenShard) -> Task:
    """Return the task that scores a file of tokens; its name differs for different content."""
    name = re.sub(r"[^\w.@+-]+", "-", shard.name).strip("-.")[:60] or TASK
    return Task(
        name=TASK,
        variant=f"{name}-{shard.sha256[:8]}" + (f"-{len(shard.ids)}" if shard.is_cut else ""),
        title=shard.name,
        citation="a local file of tokens",
        licence="not stated",
        version=1,
        source=Source(file=File(name=shard.name)),
        format="stream",
        encoding="bytes",
        ends="anywhere",
        ask="everything",
        start="none",
        unit="byte",
        metrics=("bpb", "nats_per_token"),
    )


def _plan(
    model: Model, task: Task, shard: TokenShard, stream: Decoded, settings: Settings
) -> TaskPlan:
    """Plan the windows over a stream of tokens."""
    window = protocols.window(task, model, settings.context, settings.stride)
    units = Units(bytes=len(stream.raw), chars=len(stream.text))
    passage = Passage(0, stream.text, (Part(0, len(stream.text), units),))
    identity = identified.identity_of(model)
    budget = settings.budget(window.context, identity.device)
    corpus = Corpus((Record(0, stream.text),), units, shard.sha256, False, shard.name)
    limit = len(shard.ids) if shard.is_cut else None
    encoded = [Encoded(passage, shard.ids, stream.ends)]
    return TaskPlan(
        task,
        corpus,
        1,
        window,
        protocols.fields(task, model, corpus, limit, window, None, None, lossy=False),
        replace(identity, batch=str(budget)),
        None,
        RoundTrip(),
        TaskWork.for_task(task, encoded, window, budget, identity.device),
        identified.is_own(model),
    )
