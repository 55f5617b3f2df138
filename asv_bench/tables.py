"""Tables that benchmarks write, and their places in pages: `python asv_bench/tables.py` fills these places again.

A place is two comments, ``<!-- table: peers.md -->`` and ``<!-- end -->``, and what is between them is the file
of that name beside this one. ``<!-- table: peers.md, short -->`` has one row a shape of its first table.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
PAGES = [HERE.parent / "README.md", *sorted((HERE.parent / "docs" / "guide").glob("*.md"))]
PLACE = re.compile(r"(<!-- table: ([\w.]+)(, short)? -->\n).*?(<!-- end -->)", re.DOTALL)
SHORT = """\
| (T, N, I, H) | forward, ms | best peer | ratio | forward + BPTT, ms | best peer | ratio |
|---|---|---|---|---|---|---|"""


def conditions(*packages: str) -> str:
    """What a table was measured on, and with: its first line."""
    from numlstm.config import configuration

    known = configuration()
    versions = ", ".join(f"{name} {known[name].split()[0]}" for name in ("python", "numba", *packages) if name in known)
    return f"Measured on {datetime.date.today()}: {known['cpu']}; threads {known['threads']}; {versions}.\n"


def suffix() -> str:
    """What the names of files end with where the processor has no AVX-512: ``_avx2``, say."""
    from numlstm.backends.cpu.machine.target import target

    instructions = target().instructions
    return "" if instructions == "AVX-512" else f"_{instructions.lower().replace('-', '_')}"


def write(name: str, lines: Iterable[str]) -> None:
    """Write a table to its file, and to its places."""
    (HERE / name).write_text("\n".join(lines).strip() + "\n")
    for page in PAGES:
        page.write_text(filled(page.read_text()))


def report(name: str, lines: Iterable[str], *packages: str) -> None:
    """Print lines as they come; with ``--write`` on the command line, write them, too."""
    table = []
    for line in lines:
        print(line, flush=True)
        table.append(line)
    if "--write" in sys.argv:
        write(name, [conditions(*packages), *table])


def filled(text: str) -> str:
    """A page with every table as its file has it."""

    def content(place: re.Match[str]) -> str:
        table = (HERE / place[2]).read_text()
        return f"{place[1]}\n{short(table) if place[3] else table}\n{place[4]}"

    return PLACE.sub(content, text)


def short(table: str) -> str:
    """Of a table of peers: a row for each shape, the least times of ours and of the best peer."""
    first_block = table.split(" geometric mean ")[0]
    rows = [line.strip("|").split("|") for line in first_block.splitlines() if line.startswith("| (")]
    names, *rows = [[cell.strip() for cell in row] for row in rows]
    end = next(
        k for k, name in enumerate(names) if name.startswith("best peer")
    )  # shares of the machine's speed follow
    shapes: dict[str, list[str]] = {}
    for shape, _, *times, ratio in (row[: end + 1] for row in rows):
        ours, *peers = (float(time.split()[0]) for time in times if time != "-")
        shapes.setdefault(shape, []).extend([f"{ours:.3g}", f"{min(peers):.3g}", ratio])
    forward, training = re.findall(r"geometric mean ([\d.]+)", table)[:2]
    lines = [f"| {shape} | {' | '.join(cells)} |" for shape, cells in shapes.items()]
    return "\n".join([SHORT, *lines, f"| geometric mean | | | {forward} | | | {training} |", ""])


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(filled(each.read_text()))
