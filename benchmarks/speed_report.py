"""Turn measurements into the tables of the README, with shares of the GEMM rate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from flops import Flops, block_rate, share, work
from ratios import HF, LM_EVAL, OURS, Round, Runs, fastest, loglikelihood, middle, paired

Gemm = Mapping[str, Mapping[str, Sequence[float]]]  # by dtype and product: wall and CPU rates


class Setting(NamedTuple):
    """What all figures of a report have in common: the command, the machine and the dtypes."""

    command: str
    machine: str
    dtype: str
    peer_dtype: str
    on_gpu: bool
    threads: int
    shape: str = ""

    @property
    def name(self) -> str:
        """The name under which the README stores this report; the usual shape is not named."""
        device = "gpu" if self.on_gpu else "cpu"
        return " ".join(filter(None, [device, self.dtype, self.shape]))

    @property
    def clock(self) -> str:
        """The key of the time in use: processor time for one thread, otherwise wall time."""
        return "cpu_s" if self.threads == 1 and not self.on_gpu else "wall_s"


def _times(sides: Mapping[str, Sequence[Round]], peer: str | None, setting: Setting) -> str:
    """Format how many times longer another tool takes."""
    if peer is None:
        return ""
    wall = middle(paired(sides[peer], sides[OURS], "wall_s"), "{:.2f}")
    cpu = middle(paired(sides[peer], sides[OURS], "cpu_s"), "{:.2f}")
    batch = peer.partition(", ")[2]
    return "; ".join(filter(None, [wall, "" if setting.on_gpu else f"CPU {cpu}", batch]))


def _memory(sides: Mapping[str, Sequence[Round]]) -> str:
    """Format our peak relative to the lowest of lm-evaluation-harness's batch sizes."""
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
    gemm: Sequence[Gemm],
    setting: Setting,
) -> list[str]:
    ours = sides[OURS]
    harness = fastest(sides, LM_EVAL, setting.clock)
    recipe = fastest(sides, HF, setting.clock)
    total = work(counted, shape)
    needed = work(counted, shape, needed=True)

    def percent(work: Flops, product: str) -> str:
        clock = setting.clock
        shares = [
            100 * share(work, run[clock], rates[product], int(clock == "cpu_s"))
            for run, rates in zip(ours, gemm, strict=True)
            if product in rates
        ]
        return middle(shares, "{:.0f} %")

    return [
        task,
        middle([counted["items"] / run["wall_s"] for run in ours], "{:.3g}"),
        middle([counted["positions"] / run["wall_s"] for run in ours], "{:.0f}"),
        _times(sides, harness, setting),
        _times(sides, recipe, setting),
        _memory(sides),
        percent(total, setting.dtype),
        percent(needed, setting.dtype),
        percent(total, f"{setting.dtype} oneDNN"),
        *(_differences(ours, sides[harness], counted) if harness else ("", "")),
    ]


def _differences(
    ours: Sequence[Round], peer: Sequence[Round], counted: Mapping[str, int]
) -> tuple[str, str]:
    """Format the relative difference of the totals, and the difference of the nats per token."""
    if counted["besides"]:
        return "it scores other tokens", ""
    our_total = loglikelihood(ours)
    their_total = loglikelihood(peer)
    per_token = (their_total - our_total) / counted["scored"]
    return f"{our_total / their_total - 1:+.0e}", f"{per_token:+.0e}"


def _detail(task: str, name: str, runs: Sequence[Round], counted: Mapping[str, int]) -> list[str]:
    total, reported = runs[-1]["score"]
    tokens = reported or counted["scored"] + counted["besides"]
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


def _summary_head(memory: str) -> tuple[str, ...]:
    speed = ("task", "items/s", "tokens/s", f"x {LM_EVAL}", f"x {HF}")
    shares = ("share of GEMM rate", "needed work only", "share of oneDNN's")
    differences = ("difference in total", "change in nats/token")
    return (*speed, f"peak {memory} / {LM_EVAL}'s", *shares, *differences)


def _detail_head(memory: str) -> tuple[str, ...]:
    cost = ("wall s", "CPU s", f"peak {memory} MiB", "above loaded MiB")
    return ("task", "side", *cost, "tokens", "log-likelihood", "nats/token")


def _gemm_speed(gemm: Sequence[Gemm], dtype: str, setting: Setting) -> str:
    """Format the median GFLOP/s of the blocks and of the projection."""
    clock = int(setting.clock == "cpu_s")
    blocks = median(block_rate(rates[dtype], clock) for rates in gemm) / 1e9
    head = median(rates[dtype]["head"][clock] for rates in gemm) / 1e9
    head_few = median(rates[dtype]["head_few"][clock] for rates in gemm) / 1e9
    return (
        f"{dtype}: blocks {blocks:.0f}, "
        f"projection {head:.0f} (1,024 rows), {head_few:.0f} (32 rows)"
    )


def report(
    setting: Setting,
    shape: Mapping[str, int],
    counted: Mapping[str, Mapping[str, int]],
    runs: Runs,
    gemm: Sequence[Gemm],
) -> str:
    """Return both tables in Markdown, with the command and the machine."""
    peers = {name for sides in runs.values() for name in sides} - {OURS}
    memory = "device memory" if setting.on_gpu else "RSS"
    summary = [list(_summary_head(memory))]
    detail = [list(_detail_head(memory))]
    for task, sides in runs.items():
        summary.append(_summary(task, sides, counted[task], shape, gemm, setting))
        detail += [_detail(task, name, rounds, counted[task]) for name, rounds in sides.items()]
    speeds = "; ".join(_gemm_speed(gemm, dtype, setting) for dtype in gemm[0])
    compared = f", peers in {setting.peer_dtype}" if peers else ""
    described = (
        f"{setting.machine}. {shape['layers']} layers of {shape['width']}, "
        f"vocabulary {shape['vocabulary']}; ours in {setting.dtype}{compared}; "
        f"{setting.threads} thread{'s' * (setting.threads > 1)}; medians (and ranges) of "
        f"{len(gemm)} paired round{'s' * (len(gemm) > 1)}."
    )
    return "\n\n".join(
        [
            f"    {setting.command}",
            described,
            f"GFLOP/s of the machine's GEMM: {speeds}.",
            _rows(summary),
            _rows(detail),
        ]
    )


def write(readme: Path, setting: Setting, text: str) -> None:
    """Write a report between its markers, or at the end of a file without such markers."""
    begin = f"<!-- speed {setting.name} -->"
    end = f"<!-- end of speed {setting.name} -->"
    content = readme.read_text(encoding="utf-8") if readme.exists() else ""
    before, marker, remainder = content.partition(begin)
    after = remainder.partition(end)[2] if marker else "\n"
    before = before if marker else f"{before.rstrip()}\n\n## Measured: {setting.name}\n\n".lstrip()
    readme.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
