"""What every benchmark shares: the sides take turns in one run, medians, one table to keep."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def tweets() -> tuple[str, list[str], list[int]]:
    """Name, texts and labels: the 16,000 tweets of the emotion set, or the demo sentences where
    those are missing, repeated to as many."""
    from tests import EMOTION
    from train.data import load_data
    from train.options import DataOptions

    is_there = (EMOTION / "train.txt").exists()
    data = load_data(DataOptions(dataset=str(EMOTION) if is_there else "demo"))["train"][:]
    copies = 16_000 // len(data["text"])
    name = "tweets of the emotion set" if is_there else "demo sentences"
    return name, list(data["text"]) * copies, list(data["label"]) * copies


def ratio(ours: list[float], theirs: list[float]) -> str:
    """How many times our speed is theirs, from medians: '2.61x'."""
    return f"{statistics.median(theirs) / statistics.median(ours):.2f}x"


def interleave(sides: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of each side in each round. All sides run once per round, so that a machine that
    slows down for a while slows all of them; one uncounted round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(rounds + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if round_number > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_rate(work: float, seconds: list[float]) -> float:
    """Work per second at the median time."""
    return work / statistics.median(seconds)


def environment(*packages: str) -> str:
    """One line: processor or GPU, cores, Python, versions, date."""
    import torch

    if torch.cuda.is_available():
        hardware = torch.cuda.get_device_name()
    else:
        hardware = f"{processor()}, {len(os.sched_getaffinity(0))} cores"
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    date = time.strftime("%Y-%m-%d")
    return f"{hardware}; Python {platform.python_version()}, {versions}; {date}"


def processor() -> str:
    """The processor's name, as Linux gives it, or what the platform module knows."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(header: list[str], rows: list[list[str]], n_text: int = 1) -> str:
    """A Markdown table; the first n_text columns hold words, the others numbers."""
    rule = ["---"] * n_text + ["---:"] * (len(header) - n_text)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def publish(name: str, text: str) -> None:
    """Print; with --save on the command line also keep as results/NAME.md, where the README's copy
    of the table is checked against it."""
    print(text)
    if "--save" in sys.argv:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
