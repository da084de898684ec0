#!/usr/bin/env python3
"""Shows pictures of a terminal one after the other, again and again, as one SVG.

    recording-svg.py SECONDS picture.svg … > recording.svg

The pictures are those of terminal-svg.py. Who asked for no moving pictures sees the first one.
"""

import re
import sys

PICTURE = re.compile(r'<svg [^>]*width="(\d+)" height="(\d+)"[^>]*>\s*<style>(.*?)</style>\s*(.*)</svg>', re.S)


def main():
    seconds, paths = float(sys.argv[1]), sys.argv[2:]
    pictures = [PICTURE.match(open(path, encoding="utf-8").read()).groups() for path in paths]
    wide, high = (max(int(picture[side]) for picture in pictures) for side in (0, 1))
    share = 100 / len(pictures)
    style = [pictures[0][2], "@media(prefers-reduced-motion:no-preference){"]
    for number in range(len(pictures)):
        begin, end = number * share, (number + 1) * share
        style.append(
            f"@keyframes p{number}{{0%{{visibility:{'hidden' if number else 'visible'}}}"
            f"{begin:.2f}%{{visibility:visible}}{min(end, 100):.2f}%{{visibility:hidden}}}}"
            f".p{number}{{animation:p{number} {seconds * len(pictures):g}s step-end infinite}}"
        )
    style.append("}")
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'role="img" aria-label="assistant start">'
    )
    print(f"<style>{''.join(style)}</style>")
    for number, (_, _, _, content) in enumerate(pictures):
        hidden = ' visibility="hidden"' if number else ""
        print(f'<g class="p{number}"{hidden}>{content.strip()}</g>')
    print("</svg>")


main()
