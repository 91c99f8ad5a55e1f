"""Put what scripts have saved, and the tree of files, into the pages: python -m tests.readme.

So no figure on a page is typed by hand, and a test can tell where it is out of date. A marked place
<!-- saved: NAME --> holds tests/benchmarks/results/NAME.md, or what a function of MADE makes of it.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path

from tests import ROOT
from tests.benchmarks.common import RESULTS, table
from tests.exercise.catalogue import AFTERNOONS, EXERCISES

README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
MARKED = re.compile(r"(<!-- saved: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
FOLDERS = ("tokenizer", "minibert", "train", "train/data", "train/training", "train/report")
FIRST = {  # the files to read first, with the question that each answers
    "tokenizer/normalize.py": "Which characters of a text does the model never see?",
    "tokenizer/wordpiece.py": "What becomes of a word that the vocabulary lacks?",
    "minibert/model.py": "How does one token learn of another?",
    "minibert/heads.py": "How does a vector become a label?",
    "train/training/loop.py": "What does every step depend on, and on what not?",
}

# The tutorial's accuracies with the official weights: LogisticRegression's score on the validation
# split, and "test_accuracy" of trainer.predict (on the validation split, too).
TUTORIAL = ("0.633", "0.9375")


def filled(text: str) -> str:
    """The page with every marked place filled."""

    def fill(match: re.Match[str]) -> str:
        made = MADE.get(match[2])
        return match[1] + (made() if made else saved(match[2])) + match[3]

    return MARKED.sub(fill, text)


def saved(name: str) -> str:
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def cell(name: str, start: str, column: int = -1) -> str:
    """A cell of the first row of a saved table that starts so."""
    for line in saved(name).splitlines():
        if line.startswith(f"| {start}"):
            return line.strip("| ").split(" | ")[column]
    raise KeyError(f"no row {start!r} in {name}.md")


def phrase(name: str, pattern: str) -> str:
    """The first words of a saved result that fit a regular expression."""
    found = re.search(pattern, saved(name))
    if found is None:
        raise KeyError(f"nothing like {pattern} in {name}.md")
    return found[0]


def number(text: str) -> float:
    return float(text.replace(",", "").rstrip("x"))


def times(ours: str, theirs: str) -> str:
    """'5.31x': how many times our figure is theirs."""
    return f"{number(ours) / number(theirs):.2f}x"


def results() -> str:
    """The first table of the README: what comes out, beside what, under which conditions."""
    exact = max((cell("parity", row, 1) for row in ("encoder", "masked", "classifier")), key=float)
    speeds = {what: (beside, ratio) for what, _, beside, _, ratio in speed_rows()}
    by_kind = (
        ", ".join(f"{ratio} ({what.removeprefix(kind)})" for what, (_, ratio) in found)
        for kind in ("[CLS] features, ", "training, ")
        if (found := [row for row in speeds.items() if row[0].startswith(kind)])
    )
    features, training = by_kind
    rows = [
        [
            "largest difference from `transformers`, float64",
            exact,
            f"{cell('parity', 'packaged', 1)} with the packaged weights, which are folded in "
            "float32",
        ],
        [
            f"fine-tuned on {phrase('emotion', '[0-9,]+ tweets')}: test accuracy",
            cell("emotion", "fine-tuning with MiniBERT", 3),
            f"`transformers`' Trainer: {cell('emotion', 'fine-tuning with transf', 3)}; seeds: "
            f"{cell('emotion', 'fine-tuning with MiniBERT', 1)} of ours, "
            f"{cell('emotion', 'fine-tuning with transf', 1)} of its; packaged weights, "
            f"{phrase('emotion', '[0-9]+ epochs, batch [0-9]+')}",
        ],
        [
            "frozen encoder, logistic regression: test accuracy",
            cell("emotion", "probe, [CLS]", 3),
            f"always the commonest class: {cell('emotion', 'always', 3)}; with the mean of all "
            f"tokens instead of [CLS]: {cell('emotion', 'probe, mean', 3)}",
        ],
        [
            "speed on two CPU cores",
            f"tokenizing {speeds['tweets to ids'][1]}; features {features}; training {training}",
            "that of the best of `tokenizers`, transformers, its Trainer and onnxruntime, sorted "
            "batches on all sides: see below",
        ],
        [
            "official DistilBERT weights; a GPU",
            "not run here",
            f"needs the Hub, or a GPU; the tutorial prints {TUTORIAL[0]} (frozen) and "
            f"{TUTORIAL[1]} (fine-tuned)",
        ],
    ]
    return table(["what", "MiniBERT", "beside, or under which conditions"], rows, n_text=3) + "\n"


def best(name: str, *starts: str, label: int, rate: int) -> tuple[str, str]:
    """Label and figure of the fastest row of a saved table that begins with one of `starts`."""
    rows = [line.strip("| ").split(" | ") for line in saved(name).splitlines()]
    found = [row for row in rows if " | ".join(row).startswith(starts)]
    fastest = max(found, key=lambda row: number(row[rate]))
    return fastest[label], fastest[rate]


def speed_rows() -> list[list[str]]:
    """What is timed, our figure, the best opponent of its class, its figure, ratio."""
    rows = []
    for texts, kind, what in (
        ("tweets of the emotion set", "ids", "tweets to ids"),
        ("tweets of the emotion set", "tensors", "tweets to padded tensors"),
        ("prose", "ids", "prose to ids"),
    ):
        ours = cell("tokenizer", f"{texts} | {kind} | ours, cold", 3)
        others = (f"{texts} | {kind} | {name}" for name in ("`tokenizers`", "transformers"))
        opponent, theirs = best("tokenizer", *others, label=2, rate=3)
        rows.append([what, f"{ours} texts/s", opponent, theirs, times(ours, theirs)])
    rows += features_rows()
    for size in ("8", "32"):
        # A row per number format: ours, its Trainer, its Trainer by length, our ratio to the
        # faster. The README has the format in which that is least.
        found = [line for line in saved("training").splitlines() if line.startswith(f"| {size} ")]
        least = min((line.strip("| ").split(" | ") for line in found), key=lambda r: number(r[-1]))
        _, _, number_format, ours, *trainers, ratio = least
        theirs = max(trainers, key=number)
        what = f"training, batch {size}, {number_format}"
        rows.append([what, f"{ours} steps/s", "transformers' Trainer", theirs, ratio])
    return rows


def features_rows() -> list[list[str]]:
    """Of each number format our row of the table, and the fastest of the rows below it."""
    rows: list[list[str]] = []
    lines = [line for line in saved("inference").splitlines() if line.startswith("|")]
    for line in lines[2:]:  # below the header and its rule
        label, rate, _ = line.strip("| ").split(" | ")
        if label.startswith("MiniBERT"):
            number_format = label.partition(":")[0].removeprefix("MiniBERT").strip() or "fp32"
            rows.append([f"[CLS] features, {number_format}", f"{rate} texts/s", "", "0", ""])
        elif number(rate) > number(rows[-1][3]):
            rows[-1][2:] = [label, rate, times(rows[-1][1].split()[0], rate)]
    return rows


def speed() -> str:
    """The README's table of speed, from the tables of docs/BENCHMARKS.md."""
    header = ["what", "MiniBERT", "beside", "theirs", "ours is"]
    return table(header, speed_rows(), n_text=3) + "\n"


def printed() -> str:
    """The end of what `make demo` prints: from the epoch table on."""
    block = saved("demo").split("```")[1]
    lines = block.splitlines()[1:]
    start = next(i for i, line in enumerate(lines) if "training loss" in line)
    kept = [line for line in lines[start:] if not line.startswith(("report:", "run folder:"))]
    return "```text\n" + "\n".join(kept) + "\n```\n"


def walk() -> str:
    """One sentence on its way, shortened: pieces, ids, attention, answer."""
    tokens, trace, predict = re.findall(r"```text\n(\$ .*?)\n```", saved("walk"), re.DOTALL)
    command, *steps = tokens.splitlines()
    kept = ("pieces", "  homesick", "tokens", "input_ids")
    attention = trace.split("\n\n")[-2]
    parts = [
        command,
        *(line for line in steps if line.startswith(kept)),
        "",
        trace.splitlines()[0],
        attention.strip(),
        "",
        predict,
    ]
    return "```text\n" + "\n".join(parts) + "\n```\n"


def first() -> str:
    """The files to read first: how long each is, what it says of itself, what to ask it."""
    rows = []
    for file, question in FIRST.items():
        n_lines = len((ROOT / file).read_text(encoding="utf-8").splitlines())
        rows.append([f"[{file}]({file})", str(n_lines), first_line(ROOT / file), question])
    total = sum(int(row[1]) for row in rows)
    header = ["file", f"lines ({total})", "what it does", "can you tell, when you have read it?"]
    return table(header, rows, n_text=4) + "\n"


def folders() -> str:
    """Every folder of the source with its first line."""
    lines = [f"{f'{name}/':<16}{first_line(ROOT / name / '__init__.py')}" for name in FOLDERS]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def tree() -> str:
    """Every file of the source with the first line of its docstring."""
    lines = []
    for folder in FOLDERS:
        files = sorted((ROOT / folder).glob("*.py"))
        lines.append(f"{folder + '/':<20}{first_line(ROOT / folder / '__init__.py')}")
        lines += [f"  {p.name:<18}{first_line(p)}" for p in files if p.name != "__init__.py"]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def exercises() -> str:
    """The exercises by afternoon, from their catalogue."""
    lines = ["| afternoon | exercise | | what you learn | what you write |", "| --- " * 5 + "|"]
    for number, topic in AFTERNOONS.items():
        title = f"{number}: {topic}"
        for exercise in (e for e in EXERCISES if e.afternoon == number):
            level = "\\*" * exercise.level
            lines.append(
                f"| {title} | `{exercise.name}` | {level} | {exercise.teaches} | {exercise.task} |"
            )
            title = ""
    return "\n".join(lines) + "\n"


def first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


MADE: dict[str, Callable[[], str]] = {
    "results": results,
    "speed": speed,
    "printed": printed,
    "shortwalk": walk,
    "first": first,
    "folders": folders,
    "tree": tree,
    "exercises": exercises,
}

if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
