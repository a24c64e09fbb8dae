"""What a program is made of, as a table: kernels, calls, operations, bytes, peak memory, and the rewriting
rules that fired.
"""

import textwrap

from tinyattn.runtime.lower import Row
from tinyattn.runtime.memory import Region


def repeats(row: Row) -> int:
    """How often a row runs in one step: the product of the lengths of the loops around it."""
    count, region = 1, row.region
    while region is not None:
        count *= region.length if isinstance(region, Region) else 1
        region = region.parent
    return count


def human(size: float) -> str:
    """Bytes in a readable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def table(program) -> list[tuple[str, int, int, float, int]]:
    """For each kernel: name, rows, calls a step, floating-point operations a step, bytes read and written a
    step.
    """
    found: dict[str, list] = {}
    for row in program.assembly.rows:
        entry = found.setdefault(f"{row.kernel} {row.dtype}", [0, 0, 0.0, 0])
        times = repeats(row)
        entry[0] += 1
        entry[1] += times
        entry[2] += times * row.flops
        entry[3] += times * sum(ref.nbytes for ref in (*row.reads, *row.writes))
    return [(name, *entry) for name, entry in sorted(found.items(), key=lambda item: -item[1][2])]


def summary(program) -> str:
    """The program as text, at most 80 columns wide."""
    lines = [f"{'kernel':34}{'rows':>5}{'calls':>7}{'Mflop':>9}{'moved':>11}{'flop/byte':>11}"]
    rows = table(program)
    for name, count, calls, flops, moved in rows:
        intensity = f"{flops / moved:.2f}" if moved else "-"
        lines.append(f"{name:34}{count:5}{calls:7}{flops / 1e6:9.2f}{human(moved):>11}{intensity:>11}")
    totals = [sum(column) for column in zip(*(r[1:] for r in rows), strict=True)] if rows else [0, 0, 0.0, 0]
    lines.append(f"{'total':34}{totals[0]:5}{totals[1]:7}{totals[2] / 1e6:9.2f}{human(totals[3]):>11}")
    plan = program.plan
    lines.append(
        f"peak memory {human(plan.peak)}, {human(plan.alive)} alive at once; "
        f"{plan.buffers} buffers, {human(plan.total)} without sharing"
    )
    counts = program.log.counts()
    if counts:
        text = "rewrites: " + ", ".join(f"{name} {count}" for name, count in counts.items())
        lines += textwrap.wrap(text, 80, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)
