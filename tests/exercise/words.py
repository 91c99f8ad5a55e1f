"""Comparisons that answer in words: what is wrong, where first, and how far off.

Each raises Wrong, whose message is written for the student. Where a typical mistake would give
exactly the student's result, the message names that mistake.
"""

from collections.abc import Callable, Sequence
from typing import Any

MISSING = object()  # of two sequences, the shorter one's item at the first difference


class Wrong(Exception):
    """What is still wrong, in words for the student."""


def short(value: Any, width: int = 90) -> str:
    """A value in one line of at most `width` characters."""
    text = " ".join(repr(value).splitlines())
    return text if len(text) <= width else f"{text[: width - 3]}..."


def equal(actual: Any, expected: Any, what: str, mistakes: dict[str, Any] | None = None) -> None:
    """Raises Wrong unless two plain values are equal. mistakes: {"when ...": what comes then}."""
    if actual == expected and type(actual) is type(expected):
        return
    words = [f"{what} should be {short(expected)}, and yours is {short(actual)}."]
    if place := first_difference(actual, expected):
        words.append(place)
    for mistake, result in (mistakes or {}).items():
        if actual == result != expected:
            words.append(f"That is what comes out {mistake}.")
            break
    raise Wrong("\n".join(words))


def first_difference(actual: Any, expected: Any) -> str:
    """Where two texts or two lists begin to differ, in words; "" for other things."""
    if type(actual) is not type(expected) or not isinstance(expected, str | list | tuple):
        return ""
    unit = "character" if isinstance(expected, str) else "item"
    longest = max(len(actual), len(expected))
    for place in range(longest):
        mine = actual[place] if place < len(actual) else MISSING
        right = expected[place] if place < len(expected) else MISSING
        if mine != right:
            at = f"The first difference is at {unit} {place} (counted from 0):"
            if mine is MISSING:
                return f"{at} yours has ended, {_item(right)} is missing."
            if right is MISSING:
                return f"{at} yours goes on with {_item(mine)}, where it should have ended."
            return f"{at} yours {_item(mine)}, should be {_item(right)}."
    return ""


def _item(value: Any) -> str:
    if isinstance(value, str) and len(value) == 1 and not value.isascii():
        return f"{value!r} (U+{ord(value):04X})"
    return short(value, 60)


def close(
    actual: Any,
    expected: Any,
    what: str,
    axes: Sequence[str] = (),
    tolerance: float = 1e-9,
    mistakes: dict[str, Any] | None = None,
) -> None:
    """Raises Wrong unless two tensors agree within the tolerance.

    axes: a word for each axis, such as ("text", "token", "dimension").
    mistakes: {"when ...": the tensor that comes out then}.
    """
    import torch

    if not isinstance(actual, torch.Tensor):
        raise Wrong(
            f"{what} should be a tensor {shape_of(expected)}, and yours is {short(actual)}."
        )
    if actual.shape != expected.shape:
        named = f" ({', '.join(axes)})" if axes else ""
        raise Wrong(
            f"{what} should have shape {shape_of(expected)}{named}, and yours has "
            f"{shape_of(actual)}."
        )
    distance = (actual.detach().double() - expected.detach().double()).abs()
    off = ~(distance <= tolerance)  # so that NaN counts as off
    if not off.any():
        return
    place = [int(i) for i in off.nonzero()[0]]
    mine, right = float(actual[tuple(place)]), float(expected[tuple(place)])
    where = ", ".join(f"{word} {i}" for word, i in zip(axes, place)) or f"place {place}"
    allowed = f"{tolerance:g} is allowed" if tolerance else "they must be equal"
    furthest = float(distance[off].max())
    count = f"{int(off.sum())} of {off.numel()} numbers differ"
    if expected.ndim == 0:
        digits = 6 if f"{mine:.6g}" != f"{right:.6g}" else 17
        words = [f"{what} should be {right:.{digits}g}, and yours is {mine:.{digits}g}."]
    elif not torch.isfinite(actual).all():
        words = [f"{what}: yours holds NaN or infinity, first at {where}; {right:.6g} is right."]
    else:
        words = [
            f"{what}: {count}, by up to {furthest:.3g} ({allowed}).",
            f"The first is at {where} (counted from 0): yours {mine:.6g}, should be {right:.6g}.",
        ]
    for mistake, result in (mistakes or {}).items():
        if result.shape == actual.shape and near(actual, result, tolerance):
            words.append(f"These are the numbers that come out {mistake}.")
            break
    raise Wrong("\n".join(words))


def near(actual: Any, other: Any, tolerance: float) -> bool:
    """Whether two tensors agree, NaN and infinity standing at the same places."""
    actual, other = actual.detach().double(), other.detach().double()
    finite = actual.isfinite()
    if not finite.equal(other.isfinite()):
        return False
    distance = (actual - other)[finite].abs()
    return len(distance) == 0 or bool(distance.max() <= max(tolerance, 1e-7))


def shape_of(tensor: Any) -> str:
    return str(tuple(tensor.shape))


def refused(
    call: Callable[[], Any], what: str, naming: Sequence[str], kind: type[Exception] = ValueError
) -> None:
    """Raises Wrong unless the call raises such an error, with these words in its message."""
    try:
        result = call()
    except NotImplementedError:
        raise
    except kind as error:
        absent = [name for name in naming if name.lower() not in str(error).lower()]
        if absent:
            raise Wrong(
                f"{what} is refused, as it should be, but the message does not name "
                f"{absent[0]!r}: {short(str(error), 160)}"
            ) from None
        return
    except Exception as error:
        raise Wrong(
            f"{what} should be refused with a {kind.__name__}; yours raises "
            f"{type(error).__name__}: {short(str(error))}"
        ) from error
    raise Wrong(f"{what} should be refused with a {kind.__name__}; yours gives {short(result)}.")
