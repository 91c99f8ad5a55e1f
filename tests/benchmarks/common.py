"""What every benchmark shares: the sides take turns in one run, medians, one table to keep."""

import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tests import EMOTION
from train.data import Data, load_data
from train.options import DataOptions

RESULTS = Path(__file__).parent / "results"


def emotion() -> Data:
    """The emotion set; leaves with a message where its files are missing."""
    if not (EMOTION / "train.txt").exists():
        sys.exit(f"the emotion files are not at {EMOTION}; name them with MINIBERT_EMOTION")
    return load_data(DataOptions(dataset=str(EMOTION)))


def emotion_or_demo() -> tuple[str, Data]:
    """The emotion set or, where its files are missing, the demo sentences; and its name."""
    if (EMOTION / "train.txt").exists():
        return "tweets of the emotion set", emotion()
    return "demo sentences", load_data(DataOptions(dataset="demo"))


def tweets() -> tuple[str, list[str], list[int]]:
    """Name, texts and labels of 16,000 tweets, or of demo sentences repeated to as many."""
    name, data = emotion_or_demo()
    train = data.splits["train"]
    copies = 16_000 // len(train)
    return name, list(train["text"]) * copies, list(train["label"]) * copies


def ratio(ours: list[float], theirs: list[float]) -> str:
    """How many times our speed is theirs, from medians: '2.61x'."""
    return f"{statistics.median(theirs) / statistics.median(ours):.2f}x"


def interleave(sides: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of each side in each round. All sides run once per round, so that a machine that
    slows down for a while slows all of them; nobody pays for another's garbage; one uncounted round
    warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(rounds + 1):
        for name, side in sides.items():
            gc.collect()
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
