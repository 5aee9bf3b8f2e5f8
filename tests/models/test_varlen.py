"""Attention over segments: equal to attention under a dense mask, in few kernel calls."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import random_model, requests
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from gpt2eval.models.engine import layout as layouts
from gpt2eval.models.engine import varlen
from gpt2eval.models.engine.layout import attend, lay_out
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.segments import Spans, segments
from gpt2eval.types import Request

CPU = torch.device("cpu")


def request_of(prefix: int, branches: list[int]) -> Request:
    """Return a request of these lengths."""
    return Request(
        np.arange(prefix, dtype=np.int32), tuple(np.arange(n, dtype=np.int32) for n in branches)
    )


BATCHES = st.lists(
    st.builds(request_of, st.integers(1, 9), st.lists(st.integers(1, 5), min_size=1, max_size=4)),
    min_size=1,
    max_size=5,
)


def dense_mask(batch: list[Request]) -> Tensor:
    """Return what every token of a row sees, from the meaning of prefix and branch alone."""
    owners = []  # of each token: its request, its branch (-1 in a prefix), and its place there
    for number, (prefix, branches) in enumerate(batch):
        owners += [(number, -1, i) for i in range(len(prefix))]
        owners += [(number, b, i) for b, ids in enumerate(branches) for i in range(len(ids) - 1)]
    sees = [
        [
            q[0] == k[0] and ((q[1] == k[1] and k[2] <= q[2]) or (k[1] == -1 and q[1] >= 0))
            for k in owners
        ]
        for q in owners
    ]
    return torch.tensor(sees)


def dense(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Return attention `[1, tokens, heads, size]` under a mask, with plain operations."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    weights = (query @ key.transpose(2, 3) * scale).masked_fill(~mask, -torch.inf)
    return (weights.softmax(3) @ value).transpose(1, 2)


def states(tokens: int, heads: int, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(tokens)
    return [3 * torch.randn(1, n, tokens, 8, dtype=dtype) for n in (4, heads, heads)]


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute attention on the CPU as on a GPU, with the reference kernel."""
    monkeypatch.setattr(layouts, "SEGMENTED", {"cpu"})


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 5e-5)])
@pytest.mark.parametrize("heads", [4, 2])
@settings(max_examples=40)
@given(batch=BATCHES)
def test_attention_over_segments_equals_a_dense_mask(
    dtype: torch.dtype, atol: float, heads: int, batch: list[Request]
) -> None:
    query, key, value = states(len(dense_mask(batch)), heads, dtype)
    rows = [x[0].transpose(0, 1) for x in (query, key, value)]
    out = varlen.attend(rows[0], rows[1], rows[2], segments(batch, CPU), 0.3)
    expected = dense(query, key, value, dense_mask(batch), 0.3)[0]
    torch.testing.assert_close(out, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("heads", [4, 2])
@settings(max_examples=40)
@given(batch=BATCHES)
def test_runs_and_forks_equal_a_dense_mask(heads: int, batch: list[Request]) -> None:
    """The path of other devices, by the same standard."""
    query, key, value = states(len(dense_mask(batch)), heads, torch.float64)
    layout = lay_out(batch, CPU)
    out, _ = attend(torch.nn.Module(), query, key, value, None, layout=layout, scaling=0.3)
    expected = dense(query, key, value, dense_mask(batch), 0.3)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


@settings(max_examples=40)
@given(batch=BATCHES)
def test_segments_tile_the_row_and_its_forks(batch: list[Request]) -> None:
    spans, branches = segments(batch, CPU)
    tokens = len(lay_out(batch, CPU).ids)
    assert spans.bounds[0] == 0
    assert spans.bounds[-1] == tokens
    assert spans.bounds.diff().min() > 0
    assert spans.bounds.diff().max() == spans.longest
    forks = [r for r in batch if len(r.branches) > 1 and max(map(len, r.branches)) > 1]
    assert (branches is not None) == bool(forks)
    if branches:
        assert branches.query_spans.bounds[-1] == len(branches.queries)
        assert branches.key_spans.bounds[-1] == len(branches.keys)
        assert branches.key_spans.bounds.diff().tolist() == [len(r.prefix) for r in forks]
        assert branches.query_spans.longest == branches.query_spans.bounds.diff().max()


def test_segments_follow_a_layer_to_its_device() -> None:
    elsewhere = torch.device("meta")
    row = segments([request_of(3, [2, 2])], CPU)
    moved = row.to(elsewhere)
    assert row.branches is not None
    assert moved.branches is not None
    assert row.to(CPU) is row
    assert moved.spans.longest == row.spans.longest == 3
    tensors = [moved.spans.bounds, *moved.branches[:2]]
    tensors += [spans.bounds for spans in moved.branches[2:]]
    assert {tensor.device for tensor in tensors} == {elsewhere}


@pytest.mark.usefixtures("segmented")
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("seed", range(3))
def test_the_engine_of_a_gpu_scores_like_the_padded_one(kind: str, seed: int) -> None:
    model = random_model(kind)
    fast = PackedEngine.if_equivalent(model, PaddedEngine(model))
    assert fast is not None
    scores = fast.score(requests(seed))
    expected = PaddedEngine(random_model(kind)).score(requests(seed))
    assert np.abs(scores.logprobs - expected.logprobs).max() < 1e-5
    assert (scores.is_greedy == expected.is_greedy).all()


@pytest.mark.usefixtures("segmented")
@pytest.mark.parametrize(("forks", "per_layer"), [(0, 1), (1, 2), (30, 2)])
def test_calls_do_not_grow_with_the_requests(
    forks: int, per_layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("gpt2")
    fast = PackedEngine.if_equivalent(model, PaddedEngine(model))
    assert fast is not None
    calls = counted(monkeypatch)
    runs = [request_of(n, [3]) for n in range(1, 20)]
    fast.score([*runs, *[request_of(5 + n, [3, 1, 2]) for n in range(forks)]])
    assert len(calls) == per_layer * model.config.n_layer


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with every call of a kernel."""
    calls: list[Any] = []
    kernel = varlen.reference

    def counting(inputs: varlen.Inputs) -> varlen.Attended:
        calls.append(inputs)
        return kernel(inputs)

    monkeypatch.setattr(varlen, "reference", counting)
    return calls


@pytest.mark.parametrize("batch", [requests(0), [request_of(400, [40] * 10)] * 40])
@pytest.mark.parametrize("kernel", [varlen.flash, varlen.efficient])
def test_torch_accepts_the_kernels_calls(
    kernel: Callable[..., Any], batch: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU: torch's own shape functions check every argument and give the shapes."""
    monkeypatch.setattr(varlen, "kernel_for", lambda query, value: kernel)
    row = segments(batch, CPU)
    tokens = int(row.spans.bounds[-1])
    dtype = torch.bfloat16 if kernel is varlen.flash else torch.float32
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        parts = [
            fake.from_tensor(part)
            for part in (
                row.spans.bounds,
                *(() if row.branches is None else row.branches[:2]),
            )
        ]
        assert len(parts) == 3
        assert row.branches is not None
        branches = row.branches._replace(
            queries=parts[1],
            keys=parts[2],
            query_spans=faked(fake, row.branches.query_spans),
            key_spans=faked(fake, row.branches.key_spans),
        )
        query = torch.empty(tokens, 4, 8, dtype=dtype)
        key = torch.empty(tokens, 2, 8, dtype=dtype)
        row = row._replace(spans=faked(fake, row.spans), branches=branches)
        out = varlen.attend(query, key, key, row, None)
    assert out.shape == query.shape
    assert out.dtype == dtype


def faked(fake: FakeTensorMode, spans: Spans) -> Spans:
    return spans._replace(bounds=fake.from_tensor(spans.bounds))


def like_efficient(*arguments: Any, scale: float) -> tuple[Any, ...]:
    """Return what torch's memory-efficient attention returns, with its padded log-sum-exp."""
    query, key, value, bias, query_bounds, key_bounds, longest_query, longest_key, *rest = arguments
    assert (bias, rest[0], rest[2]) == (None, 0.0, True)
    spans = Spans(query_bounds, longest_query), Spans(key_bounds, longest_key)
    assert query.shape[2] == key.shape[2], "this kernel has no grouped heads"
    causal = rest[1] == varlen.CAUSAL
    out, lse = REFERENCE(varlen.Inputs(query[0], key[0], value[0], *spans, causal, scale))
    parts = lse.split(query_bounds.diff().tolist())
    padded = torch.full((len(parts), query.shape[2], -(-longest_query // 32) * 32), torch.inf)
    for row, part in zip(padded, parts, strict=True):
        row[:, : len(part)] = part.t()
    return out[None], padded, None, None, longest_query, longest_key


def like_flash(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """Return what torch's flash attention returns: the log-sum-exp has shape `[heads, tokens]`."""
    query, key, value, query_bounds, key_bounds, longest_query, longest_key = arguments
    assert options.keys() == varlen.VARLEN_OPTIONS
    assert options["return_aux"].lse
    assert options["enable_gqa"] == (query.shape[1] != key.shape[1])
    causal = {(-1, 0): True, (-1, -1): False}[options["window_size"]]
    spans = Spans(query_bounds, longest_query), Spans(key_bounds, longest_key)
    out, lse = REFERENCE(varlen.Inputs(query, key, value, *spans, causal, options["scale"]))
    return out, lse.t()


REFERENCE = varlen.reference


@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize("kernel", [varlen.flash, varlen.efficient])
def test_the_kernels_results_are_read_in_torchs_shapes(
    kernel: Callable[..., Any], heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.aten, "_efficient_attention_forward", like_efficient)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", like_flash)
    monkeypatch.setattr(varlen, "kernel_for", lambda query, value: kernel)
    batch = requests(0)
    query, key, value = states(len(dense_mask(batch)), heads, torch.float32)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    out = varlen.attend(q, k, v, segments(batch, CPU), 0.3)
    expected = dense(query, key, value, dense_mask(batch), 0.3)[0]
    torch.testing.assert_close(out, expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_other_dtypes_and_devices_get_the_reference_kernel(dtype: torch.dtype) -> None:
    query = torch.empty(3, 4, 8, dtype=dtype)
    assert varlen.kernel_for(query, query) is varlen.reference


class OnGpu:
    """A tensor on a GPU, for the choice of a kernel."""

    device = torch.device("cuda")

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        self.shape = (3, 4, size)
        self.dtype = dtype


@pytest.mark.parametrize(
    ("size", "dtype", "value_size", "has_flash", "expected"),
    [
        (64, torch.bfloat16, 64, True, varlen.flash),
        (64, torch.float16, 64, True, varlen.flash),
        (64, torch.bfloat16, 64, False, varlen.efficient),
        (64, torch.float32, 64, True, varlen.efficient),
        (512, torch.bfloat16, 512, True, varlen.efficient),
        (64, torch.bfloat16, 32, True, varlen.efficient),
        (60, torch.bfloat16, 60, True, varlen.reference),
        (64, torch.float64, 64, True, varlen.reference),
    ],
)
def test_kernel_by_dtype_and_size(
    size: int,
    dtype: torch.dtype,
    value_size: int,
    has_flash: bool,
    expected: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(varlen, "_has_flash", lambda device: has_flash)
    query: Any = OnGpu(size, dtype)
    value: Any = OnGpu(value_size, dtype)
    assert varlen.kernel_for(query, value) is expected


@pytest.mark.parametrize(
    ("built", "capability", "expected"),
    [(True, (8, 0), True), (True, (7, 5), False), (False, (9, 0), False)],
)
def test_flash_attention_needs_a_build_and_a_gpu(
    built: bool, capability: tuple[int, int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: built)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert varlen._has_flash.__wrapped__(torch.device("cuda")) is expected
