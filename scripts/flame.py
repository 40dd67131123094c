"""Turns `perf script -F comm,ip,sym,dso` on standard input into folded stacks
and a flame graph.

usage: flame.py FOLDED SVG

A folded line is "program;caller;...;function count". In the graph the width of
a box is its share of the samples; idle processors are left out.
"""

import collections
import html
import re
import sys

FRAME = re.compile(r"^\s+[0-9a-f]+\s+(.*?)\s+\((.*)\)$")  # of a file that may be "x (deleted)"
WIDTH, ROW, LEFT, NARROW = 1200, 17, 10, 1
OURS = re.compile(r"^github\.com/remuda-run/remuda/(internal/)?")
IDLE = re.compile(r"^(swapper|.*;(default_idle|native_safe_halt|pv_native_safe_halt|acpi_safe_halt|mwait_idle\w*);?.*)")


def fold(lines):
    """Returns how often each stack was seen, outermost caller first."""
    stacks, program, frames = collections.Counter(), None, []
    for line in [*lines, ""]:
        if not line.strip():
            if program is not None:
                stacks[";".join([program, *reversed(frames)])] += 1
            program, frames = None, []
            continue
        found = FRAME.match(line)
        if found is None:
            program = line.strip().rstrip(":").replace(";", ":")
            continue
        symbol, where = found.groups()
        if symbol == "[unknown]":
            symbol = "[" + where.rsplit("/", 1)[-1].strip("[]") + "]"
            if frames and frames[-1] == symbol:
                continue  # a row of frames without names says no more than one
        frames.append(OURS.sub("", symbol).replace(";", ":"))
    return collections.Counter({s: n for s, n in stacks.items() if not IDLE.match(s + ";")})


def tree(stacks):
    """Returns nested (count, children by name) of folded stacks."""
    root = [0, {}]
    for stack, count in stacks.items():
        node = root
        node[0] += count
        for name in stack.split(";"):
            node = node[1].setdefault(name, [0, {}])
            node[0] += count
    return root


def depth(node):
    return 1 + max((depth(child) for child in node[1].values()), default=0)


def boxes(node, name, x, level, scale, total):
    """Yields one SVG group for each box, callers below what they call."""
    count, children = node
    width = count * scale
    if width < NARROW:
        return
    share = 100 * count / total if total else 0
    label = html.escape(name)
    hue = 10 + sum(map(ord, name)) % 45
    yield level, (
        f'<g><title>{label}: {count} samples, {share:.2f} %</title>'
        f'<rect x="{x:.1f}" y="{{y}}" width="{width:.1f}" height="{ROW - 1}" fill="hsl({hue},85%,65%)"/>'
        + (f'<text x="{x + 3:.1f}" y="{{t}}">{html.escape(name[: int(width / 7)])}</text>' if width > 28 else "")
        + "</g>"
    )
    for child in sorted(children):
        yield from boxes(children[child], child, x, level + 1, scale, total)
        x += children[child][0] * scale


def svg(stacks):
    root = tree(stacks)
    total = root[0]
    height = (depth(root) + 2) * ROW
    scale = (WIDTH - 2 * LEFT) / total if total else 0
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        '<style>text{font:11px monospace;pointer-events:none} rect:hover{stroke:black}</style>',
    ]
    for level, box in boxes(root, f"all, {total} samples", LEFT, 0, scale, total):
        y = height - (level + 2) * ROW
        out.append(box.replace("{y}", str(y)).replace("{t}", str(y + ROW - 5)))
    return "\n".join([*out, "</svg>", ""])


def main():
    stacks = fold(sys.stdin)
    if not stacks:
        sys.exit("flame.py: no samples")
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.writelines(f"{stack} {count}\n" for stack, count in sorted(stacks.items()))
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(svg(stacks))


if __name__ == "__main__":
    main()
