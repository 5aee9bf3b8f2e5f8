"""Measurements to ratios, FLOPs, shares of the GEMM rate, and the README's table. It measures nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

OURS, HF, LM_EVAL = "gpt2eval", "Hugging Face recipe", "lm-evaluation-harness"
Round = Mapping[str, Any]  # a `Measured` of sides/timed.py, as JSON
Runs = Mapping[str, Mapping[str, Sequence[Round]]]  # task, side, round


class Setting(NamedTuple):
    """What all figures of a report have in common."""

    command: str
    machine: str
    dtype: str
    peer_dtype: str
    on_gpu: bool
    threads: int

    @property
    def name(self) -> str:
        """Under which the README keeps this report."""
        return f"{'gpu' if self.on_gpu else 'cpu'} {self.dtype}"

    @property
    def clock(self) -> str:
        """Processor time where one thread does the work, else wall time."""
        return "cpu_s" if self.threads == 1 and not self.on_gpu else "wall_s"


class Flops(NamedTuple):
    """FLOPs of a task's work: in the blocks (attention included), and in the vocabulary projection."""

    blocks: float
    head: float


def flops(counted: Mapping[str, int], shape: Mapping[str, int], *, needed: bool = False) -> Flops:
    """2 M per position + 4 L d per key seen + 2 d V per scored token.

    M is the number of weights in the blocks' matrices, 12 L d^2 for GPT-2; a position sees half its context on
    average, so the second term is 4 L d x context / 2 per position. `needed` leaves out what no score depends on:
    of the last layer all but keys and values (10 d^2 of its 12 d^2, and its attention) where nothing is read.
    """
    layers, width, weights = shape["layers"], shape["width"], shape["matrices"]
    blocks = 2.0 * weights * counted["positions"] + 4.0 * layers * width * counted["keys"]
    if needed:
        blocks -= (
            (counted["positions"] - counted["positions_read"]) * 2.0 * weights / layers * 10 / 12
        )
        blocks -= (counted["keys"] - counted["keys_read"]) * 4.0 * width
    return Flops(blocks, 2.0 * width * shape["vocabulary"] * counted["scored"])


def block_rate(rates: Mapping[str, Sequence[float]], clock: int) -> float:
    """FLOP/s over a GPT-2 block's four multiplications, each in its share."""
    shares = {"qkv": 3 / 12, "out": 1 / 12, "up": 4 / 12, "down": 4 / 12}
    return 1 / sum(share / rates[name][clock] for name, share in shares.items())


def share(work: Flops, seconds: float, rates: Mapping[str, Sequence[float]], clock: int) -> float:
    """The seconds that the work takes at the measured GEMM rates, by the seconds that it took."""
    return (work.blocks / block_rate(rates, clock) + work.head / rates["head"][clock]) / seconds


def paired(over: Sequence[Round], under: Sequence[Round], key: str) -> list[float]:
    """A quantity's ratio, round by round."""
    return [a[key] / b[key] for a, b in zip(over, under, strict=True)]


def middle(values: Sequence[float], form: str) -> str:
    """The median, and the range where there are several; nothing of nothing."""
    if not values:
        return ""
    if len(values) == 1:
        return form.format(values[0])
    return (
        f"{form.format(median(values))} ({form.format(min(values))} to {form.format(max(values))})"
    )


def fastest(sides: Mapping[str, Sequence[Round]], of: str, clock: str) -> str | None:
    """The side of a tool that took the least, of the batch sizes it was run with."""
    names = [name for name in sides if name.startswith(of)]
    return min(names, key=lambda name: median(run[clock] for run in sides[name]), default=None)


def loglikelihood(runs: Sequence[Round]) -> float:
    """What a side answered (in the last round)."""
    return runs[-1]["score"][0]


def disagreement(sides: Mapping[str, Sequence[Round]]) -> float:
    """The largest relative difference of our total from one of the same tokens by lm-evaluation-harness; 0 without it."""
    totals = [loglikelihood(runs) for name, runs in sides.items() if name.startswith(LM_EVAL)]
    return max((abs(loglikelihood(sides[OURS]) / total - 1) for total in totals), default=0.0)


def _times(sides: Mapping[str, Sequence[Round]], peer: str | None, setting: Setting) -> str:
    if peer is None:
        return ""
    wall, cpu = (
        middle(paired(sides[peer], sides[OURS], key), "{:.2f}") for key in ("wall_s", "cpu_s")
    )
    batch = peer.partition(", ")[2]
    return "; ".join(filter(None, [wall, "" if setting.on_gpu else f"CPU {cpu}", batch]))


def _memory(sides: Mapping[str, Sequence[Round]]) -> str:
    """Our peak by the lowest of lm-evaluation-harness's batch sizes."""
    harness = [runs for name, runs in sides.items() if name.startswith(LM_EVAL)]
    if not harness:
        return ""
    least = min(harness, key=lambda runs: median(run["peak_mib"] for run in runs))
    return middle(paired(sides[OURS], least, "peak_mib"), "{:.2f}")


def _summary(
    task: str,
    sides: Mapping[str, Sequence[Round]],
    counted: Mapping[str, int],
    shape: Mapping[str, int],
    gemm: Sequence[Mapping[str, Mapping[str, Sequence[float]]]],
    setting: Setting,
) -> list[str]:
    ours, clock = sides[OURS], setting.clock
    harness, recipe = fastest(sides, LM_EVAL, clock), fastest(sides, HF, clock)
    shares = [
        [
            100
            * share(
                flops(counted, shape, needed=needed), run[clock], rates[way], int(clock == "cpu_s")
            )
            for run, rates in zip(ours, gemm, strict=True)
            if way in rates
        ]
        for way, needed in (
            (setting.dtype, False),
            (setting.dtype, True),
            (f"{setting.dtype} oneDNN", False),
        )
    ]
    return [
        task,
        middle([counted["items"] / run["wall_s"] for run in ours], "{:.3g}"),
        middle([counted["positions"] / run["wall_s"] for run in ours], "{:.0f}"),
        _times(sides, harness, setting),
        _times(sides, recipe, setting),
        _memory(sides),
        *(middle(percent, "{:.0f} %") for percent in shares),
        *(_differences(ours, sides[harness], counted) if harness else ("", "")),
    ]


def _differences(
    ours: Sequence[Round], peer: Sequence[Round], counted: Mapping[str, int]
) -> tuple[str, str]:
    """Of the total, relatively, and of the nats per token; not of totals over different tokens."""
    if counted["besides"]:
        return "it scores other tokens", ""
    a, b = loglikelihood(ours), loglikelihood(peer)
    return f"{a / b - 1:+.0e}", f"{(b - a) / counted['scored']:+.0e}"


def _detail(task: str, name: str, runs: Sequence[Round], counted: Mapping[str, int]) -> list[str]:
    total, said = runs[-1]["score"]
    tokens = said or counted["scored"] + counted["besides"]
    return [
        task,
        name,
        *(f"{median(run[key] for run in runs):.2f}" for key in ("wall_s", "cpu_s")),
        f"{median(run['peak_mib'] for run in runs):.0f}",
        f"{median(run['peak_mib'] - run['loaded_mib'] for run in runs):.0f}",
        str(tokens),
        f"{total:.3f}",
        f"{-total / tokens:.6f}",
    ]


def _rows(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def report(
    setting: Setting,
    shape: Mapping[str, int],
    counted: Mapping[str, Mapping[str, int]],
    runs: Runs,
    gemm: Sequence[Mapping[str, Mapping[str, Sequence[float]]]],
) -> str:
    """Both tables, with what they were measured by and on, in Markdown."""
    peers = {name for sides in runs.values() for name in sides} - {OURS}
    memory = "device memory" if setting.on_gpu else "RSS"
    summary = [
        "task",
        "items/s",
        "tokens/s",
        f"x {LM_EVAL}",
        f"x {HF}",
        f"peak {memory} / {LM_EVAL}'s",
    ]
    summary += [
        "share of GEMM rate",
        "needed work only",
        "share of oneDNN's",
        "difference in total",
        "change in nats/token",
    ]
    detail = [
        "task",
        "side",
        "wall s",
        "CPU s",
        f"peak {memory} MiB",
        "above loaded MiB",
        "tokens",
        "log-likelihood",
    ]
    at = int(setting.clock == "cpu_s")
    speeds = "; ".join(
        f"{dtype}: blocks {median(block_rate(r[dtype], at) for r in gemm) / 1e9:.0f}, projection "
        + ", ".join(
            f"{median(r[dtype][name][at] for r in gemm) / 1e9:.0f} ({rows} rows)"
            for name, rows in (("head", "1,024"), ("head_few", "32"))
        )
        for dtype in gemm[0]
    )
    compared = f", peers in {setting.peer_dtype}" if peers else ""
    return "\n\n".join(
        [
            f"    {setting.command}",
            f"{setting.machine}. {shape['layers']} layers of {shape['width']}, vocabulary {shape['vocabulary']}; ours in "
            f"{setting.dtype}{compared}; {setting.threads} thread{'s' * (setting.threads > 1)}; medians (and ranges) of "
            f"{len(gemm)} paired round{'s' * (len(gemm) > 1)}.",
            f"GFLOP/s of the machine's GEMM: {speeds}.",
            _rows(
                [
                    summary,
                    *(_summary(t, s, counted[t], shape, gemm, setting) for t, s in runs.items()),
                ]
            ),
            _rows(
                [
                    [*detail, "nats/token"],
                    *(_detail(t, n, r, counted[t]) for t, s in runs.items() for n, r in s.items()),
                ]
            ),
        ]
    )


def write(readme: Path, setting: Setting, text: str) -> None:
    """Put a report between its markers; at the end, where the file has none for it."""
    begin, end = f"<!-- speed {setting.name} -->", f"<!-- end of speed {setting.name} -->"
    found = readme.read_text(encoding="utf-8") if readme.exists() else ""
    before, marker, rest = found.partition(begin)
    after = rest.partition(end)[2] if marker else "\n"
    before = before if marker else f"{before.rstrip()}\n\n## Measured: {setting.name}\n\n".lstrip()
    readme.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
