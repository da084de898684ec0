#!/usr/bin/env python3
"""Draws what a terminal shows as SVG, in which text stays text.

    terminal-svg.py TITLE COLUMNS < screen > picture.svg

The screen is text with the escape sequences for colours and styles (SGR), as `tmux capture-pane -e`
prints it. What changes from run to run (times, ids, ports' answers in milliseconds) is replaced by
something fixed of the same length, so that the same program gives the same file.
"""

import re
import sys
import unicodedata
from html import escape

CELL, LINE, PAD, BAR = 8.4, 18, 14, 30

BACKGROUND, TEXT = "#16181d", "#d7dae0"
COLOURS = {
    30: "#4b5263", 31: "#ff7b72", 32: "#7ee787", 33: "#e3b341",
    34: "#79c0ff", 35: "#d2a8ff", 36: "#56d4dd", 37: "#d7dae0",
    90: "#8b949e", 91: "#ffa198", 92: "#aff5b4", 93: "#f2cc60",
    94: "#a5d6ff", 95: "#e2c5ff", 96: "#b3f0f5", 97: "#ffffff",
}  # fmt: skip

# A pattern, and what stands in its place: cut or filled up with blanks to the width of what was there.
DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{1,2} [A-Z][a-z]{2}"
FIXED = [
    (r"(?<=(?:iat|nbf) {8})1\d{9} \([^)]*\)", "1767261600 (Thu 1 Jan 2026 10:00, now)"),
    (r"(?<=exp {8})1\d{9} \([^)]*\)", "1767265200 (Thu 1 Jan 2026 11:00, in 1:00:00)"),
    (rf"{DAY} \d{{4}} \d\d:\d\d(?= *$)", "Thu 1 Jan 2026 10:00"),
    (r"(?<=kid  ) *\S+", " kXf1ZJ0v4Qm2b7Tn"),
    (r"(?<=jti  ) *\S+", " tB3vJxYk0aQm5c9RlD2wEg"),
    (r'(?<="(?:start)":)1\d{12}', "1767261600000"),
    (r'(?<="(?:end)":)1\d{12}', "1767263400000"),
    (r"\b1[67]\d{11}\b", "1767261600000"),
    (r"\b(?:59:\d\d|1:00:\d\d) left", "59:59 left"),
    (r"(?<=[█░] )(?:59:\d\d|1:00:\d\d)", "59:59"),
]  # fmt: skip

SGR = re.compile(r"\x1b\[([\d;]*)m")


def width(character):
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cells(line, style):
    """The characters of a line, each with its style."""
    found, end = [], 0
    for match in SGR.finditer(line):
        found += [(c, dict(style)) for c in line[end : match.start()]]
        change(style, match.group(1))
        end = match.end()
    return found + [(c, dict(style)) for c in line[end:]]


def change(style, codes):
    codes = [int(code or 0) for code in codes.split(";")]
    while codes:
        code = codes.pop(0)
        if code == 0:
            style.clear()
        elif code in (1, 2, 4, 7):
            style[{1: "bold", 2: "dim", 4: "underlined", 7: "reversed"}[code]] = True
        elif code in (22, 24, 27):
            for name in {22: ("bold", "dim"), 24: ("underlined",), 27: ("reversed",)}[code]:
                style.pop(name, None)
        elif code in (38, 48) and codes[:1] == [5]:
            # Of the 256 colours, the first 16 are those of before.
            number = codes[1]
            del codes[:2]
            if code == 38 and number < 16:
                style["colour"] = COLOURS[number + (30 if number < 8 else 82)]
        elif code in COLOURS:
            style["colour"] = COLOURS[code]
        elif code == 39:
            style.pop("colour", None)


def steady(line):
    """Puts fixed texts in the place of those that change; the line stays as long as it was."""
    for pattern, text in FIXED:
        plain = "".join(c for c, _ in line)
        for match in reversed(list(re.finditer(pattern, plain))):
            start, end = match.span()
            style = line[start][1]
            new = [(c, dict(style)) for c in text]
            surplus = len(new) - (end - start)
            if plain[end:].strip() == "" and plain[:start].endswith("  "):
                # It stands at the right border: it grows to the left.
                before = line[:start]
                before = before[:-surplus] if surplus > 0 else before + [(" ", before[-1][1])] * -surplus
                line = before + new + line[end:]
            else:
                rest = line[end:]
                blank = (" ", dict(rest[0][1])) if rest else (" ", {})
                if surplus > 0 and all(c == " " for c, _ in rest[:surplus]):
                    rest = rest[surplus:]
                elif surplus < 0 and rest:
                    rest = [blank] * -surplus + rest
                line = line[:start] + new + rest
            plain = "".join(c for c, _ in line)
    return line


def runs(line):
    """Neighbours of one style together: column, columns, text, style."""
    column, found = 0, []
    for c, style in line:
        wide = width(c)
        if found and found[-1][3] == style and wide == 1 and found[-1][4]:
            start, columns, text, _, _ = found[-1]
            found[-1] = (start, columns + 1, text + c, style, True)
        else:
            found.append((column, wide, c, style, wide == 1))
        column += wide
    return found


def svg(lines, title, columns):
    wide = round(columns * CELL + 2 * PAD)
    high = round(len(lines) * LINE + BAR + PAD)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'role="img" aria-label="{escape(title)}">',
        "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        "white-space:pre}</style>",
        f'<rect width="{wide}" height="{high}" rx="8" fill="{BACKGROUND}"/>',
        f'<text x="{wide / 2:g}" y="20" fill="#8b949e" text-anchor="middle">{escape(title)}</text>',
    ]
    for row, line in enumerate(lines):
        top = BAR + row * LINE
        for column, count, text, style, _ in runs(line):
            x, length = PAD + column * CELL, count * CELL
            fill, behind = style.get("colour", TEXT), None
            if style.get("reversed"):
                fill, behind = BACKGROUND, fill
            if behind:
                out.append(
                    f'<rect x="{x:.1f}" y="{top}" width="{length:.1f}" height="{LINE}" '
                    f'fill="{behind}" shape-rendering="crispEdges"/>'
                )
            if not text.strip():
                continue
            extra = ' font-weight="bold"' if style.get("bold") else ""
            extra += ' opacity="0.65"' if style.get("dim") else ""
            extra += ' text-decoration="underline"' if style.get("underlined") else ""
            kept = text.rstrip()
            x += (len(text) - len(text.lstrip())) * CELL
            kept = kept.lstrip()
            length = sum(map(width, kept)) * CELL
            out.append(
                f'<text x="{x:.1f}" y="{top + 13}" textLength="{length:.1f}" fill="{fill}"{extra}>{escape(kept)}</text>'
            )
    return "\n".join(out + ["</svg>", ""])


def main():
    title, columns = sys.argv[1], int(sys.argv[2])
    style = {}
    lines = [steady(cells(line, style)) for line in sys.stdin.read().rstrip("\n").split("\n")]
    # What is longer than the picture goes on in the next line, as in a terminal.
    folded = []
    for line in lines:
        while len(line) > columns:
            folded.append(line[:columns])
            line = line[columns:]
        folded.append(line)
    sys.stdout.write(svg(folded, title, columns))


main()
