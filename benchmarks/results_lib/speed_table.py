"""Section 6 of the page: speed.json of benchmarks/speed.py, and its aims."""

from __future__ import annotations

from typing import Any

from results_lib.tables import Case, aim, table

TRAIN_S, PEAK_MB, PER_SECOND, SINGLE_MS = 120.0, 4096.0, 100_000.0, 5.0


def speed(measured: Any) -> list[str]:
    """Return the section; measured: by device, or None."""
    lines = ["## 6. Speed", ""]
    if not measured:
        return [*lines, "Not measured yet: `python benchmarks/speed.py`.", ""]
    first = next(iter(measured.values()))
    sizes = " × ".join(f"{first[name]:,}" for name in ("users", "queries", "llms"))
    lines += [
        f"`python benchmarks/speed.py`, {sizes} (users × queries × LLMs). *Row by row*: the same "
        "data read and averaged, and the same requests answered by table look-up, one row at a "
        "time in Python, in the same run; it learns nothing, so it is a floor of that way.",
        "",
    ]
    head = ["device", "training to the best epoch", "peak memory", "decisions a second, batch"]
    head += ["one decision", "row by row: read", "row by row: decisions a second", "ratio"]
    rows = []
    cases: dict[str, list[Case]] = {"train": [], "memory": [], "batch": [], "single": []}
    for device, m in measured.items():
        rows.append(
            [
                f"{device} ({m['threads']} threads)",
                f"{m['train_s']:.1f} s ({m['best_epoch']} of {m['epochs']} epochs)",
                f"{m['peak_mb']:,.0f} MB",
                f"{m['per_second']:,.0f}",
                f"{m['single_ms']:.2f} ms",
                f"{m['loop_read_s']:.1f} s",
                f"{m['loop_per_second']:,.0f}",
                f"{m['per_second'] / m['loop_per_second']:.1f}",
            ]
        )
        cases["train"].append(Case(device, m["train_s"] <= TRAIN_S, f"{m['train_s']:.1f} s"))
        if device == "cpu":
            met = m["peak_mb"] <= PEAK_MB
            cases["memory"].append(Case(device, met, f"{m['peak_mb']:,.0f} MB"))
        met = m["per_second"] >= PER_SECOND
        cases["batch"].append(Case(device, met, f"{m['per_second']:,.0f}"))
        cases["single"].append(
            Case(device, m["single_ms"] <= SINGLE_MS, f"{m['single_ms']:.2f} ms")
        )
    return [
        *lines,
        *table(head, rows),
        *aim(f"training to the best validation epoch within {TRAIN_S:.0f} s", cases["train"]),
        *aim("in 4 GB", cases["memory"]),
        *aim(f"at least {PER_SECOND:,.0f} decisions a second in batch", cases["batch"]),
        *aim(f"a single decision within {SINGLE_MS:.0f} ms after embedding", cases["single"]),
    ]
