"""Time and peak memory of explore and of fine-tuning's preparation, as the data grow.

python -m tests.benchmarks.growing [--save]     about 4 minutes on two cores
"""

import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import ROOT
from tests.benchmarks.common import environment, publish, table, tweets

SIZES = (10_000, 100_000, 1_000_000)
PREPARE = """
import sys
from train.finetune import load, prepare
from train.options import FinetuneOptions

prepare(load(FinetuneOptions(model="demo", train_file=sys.argv[1])))
"""
HEADER = ["texts", "what", "seconds", "peak memory, MB", "cache file, MB"]


def write_texts(path: Path, n: int) -> None:
    """n texts, all different: those of the set, then the same with a word of another text in the
    place of one."""
    _, texts, labels = tweets()
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for i in range(n):
            words = texts[i % len(texts)].split()
            if i >= len(texts):
                words[draw.randrange(len(words))] = draw.choice(draw.choice(texts).split())
            rows.writerow([" ".join(words), labels[i % len(texts)]])


def measure(arguments: list[str], cache: Path) -> tuple[float, int]:
    """Seconds of a program, and its peak private memory in MB (Linux): what it has written to, not
    the mapped files that the system can drop."""
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    start, peak = time.perf_counter(), 0
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]))
            time.sleep(0.02)
    if process.returncode != 0:
        sys.exit(f"{' '.join(arguments)} has failed, see above")
    return time.perf_counter() - start, peak // 1024


def main() -> None:
    name, _, _ = tweets()
    rows = []
    for n in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            file, cache, run = Path(folder) / "texts.csv", Path(folder) / "cache", f"{folder}/run"
            write_texts(file, n)
            data = ["--model", "demo", "--train-file", str(file), "--output-dir", run]
            explore = ["-m", "train", "explore", *data, "--overwrite"]
            sides = {
                "explore": explore,
                "explore again, from the cache": explore,
                "fine-tuning's preparation": ["-c", PREPARE, str(file)],
            }
            for what, arguments in sides.items():
                print(f"{n:,} texts: {what} ...", file=sys.stderr)
                seconds, peak = measure(arguments, cache)
                size = sum(path.stat().st_size for path in cache.rglob("*.ids")) / 1e6
                rows.append([f"{n:,}", what, f"{seconds:.1f}", str(peak), f"{size:.0f}"])
    publish(
        "growing",
        table(HEADER, rows, n_text=2)
        + f"\n\n{name}, repeated with one word changed, in a csv file; packaged weights. Seconds\n"
        "are those of the whole process, with its start, report and model. Memory: private\n"
        "pages, without the mapped files that the system can drop. Preparation: all before the\n"
        "first step, with a tenth of the texts held out.\n"
        + environment("torch", "pandas", "pyarrow"),
    )


if __name__ == "__main__":
    main()
