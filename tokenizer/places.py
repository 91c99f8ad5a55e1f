"""Offsets: where in a text each character of its normalised form comes from.

normalize.py works on whole texts, which is fast and plain, and keeps no places. Here the same rules
are followed one character at a time, by lists of (character, place).
"""

import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby

from tokenizer import normalize

Placed = list[tuple[str, int]]


def places(
    text: str,
    do_lower_case: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
    clean_text: bool = True,
) -> list[int]:
    """For each character of the normalised text its place in `text`.

    >>> normalize.normalize("\\x00naïve 的!"), places("\\x00naïve 的!")
    ('naive  的 !', [1, 2, 3, 4, 5, 6, 7, 7, 7, 8])
    """
    if strip_accents is None:
        strip_accents = do_lower_case
    placed = list(zip(text, range(len(text))))
    if clean_text:
        placed = _replaced(placed, normalize.clean)
    if tokenize_chinese_chars:
        placed = _replaced(placed, normalize.space_ideographs)
    if strip_accents:
        placed = [(c, place) for c, place in _decomposed(placed) if not normalize.ACCENT.match(c)]
    if do_lower_case:
        placed = _replaced(placed, normalize.lower_case)
    return [place for _, place in placed]


def _replaced(placed: Placed, rule: Callable[[str], str]) -> Placed:
    """What a rule makes of each character by itself: nothing, one or several at the same place."""
    new = {c: rule(c) for c, _ in placed}
    return [(c, place) for old, place in placed for c in new[old]]


def _decomposed(placed: Placed) -> Placed:
    """NFD, of the runs of characters that it may change."""
    text = "".join(c for c, _ in placed)
    found, done = [], 0
    for run in normalize.DECOMPOSED.finditer(text):
        found += placed[done : run.start()]
        found += _decomposed_run(placed[run.start() : run.end()])
        done = run.end()
    return found + placed[done:]


def _decomposed_run(run: Placed) -> Iterator[tuple[str, int]]:
    """NFD of a run: it also sorts neighbouring marks by their class, across characters."""
    parts = [
        (part, i == 0) for c, _ in run for i, part in enumerate(unicodedata.normalize("NFD", c))
    ]
    ordered: list[tuple[str, bool]] = []
    for is_mark, group in groupby(parts, key=lambda part: unicodedata.combining(part[0]) > 0):
        neighbours = list(group)
        if is_mark:
            neighbours.sort(key=lambda part: unicodedata.combining(part[0]))
        ordered += neighbours
    # A mark that was moved gets the place at which it now stands, not the one it came from: so says
    # the reference, and offsets always go up. Parts of one character share its place.
    origins = iter(run)
    place = run[0][1]
    for part, is_first in ordered:
        if is_first:
            place = next(origins)[1]
        yield part, place
