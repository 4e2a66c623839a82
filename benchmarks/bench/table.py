"""The Markdown tables of docs/performance.md from the JSON objects that benchmarks print: ``make bench | python -m bench.table``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

COMPARED = (
    "benchmark", "size", "arm", "precision", "samples/s", "times the baseline", "GFLOP/s", "share of the ceiling", "host GB", "GPU GB",
)  # fmt: skip


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Markdown."""
    header = tuple(header)
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine_line(found: dict[str, Any]) -> str:
    """What the figures were measured on."""
    machine = found["machine"]
    facts = (
        f"{machine['processor']} ({machine['kind']}; {', '.join(machine['flags'])})",
        *([machine["gpu"]] if machine["gpu"] else []),
        f"{machine['cores']} cores, {machine['threads']} thread{'' if machine['threads'] == 1 else 's'} per arm",
        f"torch {machine['torch']}",
        f"commit {machine['commit']}",
    )
    return "; ".join(facts) + "\n"


def compared_rows(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each arm of each size."""
    for size, measured in found.get("sizes", {}).items():
        for arm, figures in measured["arms"].items():
            ratio = measured["ratios"].get(f"{arm}_over_baseline", 1)
            yield (
                found["benchmark"],
                size,
                arm,
                figures["precision"],
                number(figures["samples_per_second"]),
                f"{ratio:.2f}",
                number(figures["gflop_per_second"]),
                f"{figures['share_of_ceiling']:.0%}",
                number(figures["peak_host_gb"]),
                number(figures["peak_device_gb"]) if "peak_device_gb" in figures else "",
            )


def parts_tables(found: dict[str, Any]) -> str:
    return "\n".join(
        table(
            (f"part of a step, {size}", "share"),
            ((part, f"{share:.1%}") for part, share in measured["shares_of_a_step"].items()),
        )
        for size, measured in found["sizes"].items()
        if "shares_of_a_step" in measured
    )


def loss_table(found: dict[str, Any]) -> str:
    runs = found["relative_difference"]
    steps = list(runs["control"])
    rows = ((name, *(values.get(step, "") for step in steps)) for name, values in runs.items())
    return table(("relative difference after step", *steps), rows)


def stream_tables(found: dict[str, Any]) -> str:
    fed, growth = found["fed"], found["growth"]
    arms = ((name, number(arm["samples_per_second"]), arm["peak_host_gb"]) for name, arm in fed["arms"].items())
    costs = ((part, *values.values()) for part, values in growth["ratios"].items())
    return "\n".join(
        (
            table((f"window {fed['window_gb']} GB, frames {fed['frames_gb']} GB", "samples/s", "host GB"), arms),
            table(("ratio", ""), fed["ratios"].items()),
            table(("cost a sample, frames", *growth["ratios"]["stream"]), costs),
        )
    )


def profile_tables(found: dict[str, Any]) -> str:
    tables = (
        table(
            (f"operator, {size}", "share of a step"), ((f"`{name}`", f"{share:.1%}") for name, share in shares.items())
        )
        for size, shares in found["profiles"].items()
    )
    return "\n".join(tables)


def main(lines: Iterable[str]) -> None:
    found = {line["benchmark"]: line for line in map(json.loads, lines)}
    for line in dict.fromkeys(machine_line(line) for line in found.values() if "machine" in line):
        print(line)
    if rows := [row for line in found.values() for row in compared_rows(line)]:
        print(table(COMPARED, rows))
    for benchmark, tables in (
        ("lam_training", parts_tables),
        ("loss_agreement", loss_table),
        ("window_stream", stream_tables),
        ("step_profile", profile_tables),
    ):
        if benchmark in found:
            print(tables(found[benchmark]))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main(sys.stdin)
