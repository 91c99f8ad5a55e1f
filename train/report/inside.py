"""Write the page that looks inside a text: numbers packed small, drawn by trace.js."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from train.options import PROGRAM
from train.report.page import environment
from train.runs import write_text

DIGITS = 7  # significant ones, of numbers that are written as text: float32 has no more


def write_page(path: Path, traces: list[dict[str, Any]], model: str) -> None:
    """One HTML file, without any other; traces: as `train.inside.inside` gives them."""
    page = (
        environment()
        .get_template("trace.html")
        .render(
            title="The inside of a text"
            if len(traces) == 1
            else f"{len(traces)} texts side by side",
            model=f"model {model}",
            command=f'{PROGRAM} trace --model {model} --page FILE.html "another text"',
            packed=[packed(trace) for trace in traces],
        )
    )
    write_text(path, page)


def is_page(path: Path) -> bool:
    """Whether `write_page` has written the file: it names the command for another text."""
    return f"<code>{PROGRAM} trace --model ".encode() in path.read_bytes()


def packed(trace: dict[str, Any]) -> dict[str, Any]:
    """The same with attentions and states as base64 of binary numbers.

    Attentions as 16-bit shares of 1: half a step is 7.6e-6, and 64 tokens in 6 layers of 12 heads
    take 0.8 MB instead of 3 as JSON. States in 8 bits: they are looked at, not read."""
    attentions = np.array(trace["attentions"])  # (L, H, S, S)
    states = np.array(trace["states"])
    # A few numbers are ten times as large as all others: cut, or nothing else would be seen.
    most = max(np.quantile(abs(states), 0.995), 1e-9)
    scaled = np.rint(127 * np.clip(states / most, -1, 1)).astype(np.int8)
    return {name: rounded(value) for name, value in trace.items()} | {
        "shape": attentions.shape[:3],
        "attentions": encoded(np.rint(attentions * 65535).astype("<u2")),
        "states": encoded(scaled),
    }


def encoded(array: np.ndarray) -> str:
    """The array's bytes in base64."""
    return base64.b64encode(array.tobytes()).decode("ascii")


def rounded(value: Any) -> Any:
    """Nested lists with their floats cut to DIGITS."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
