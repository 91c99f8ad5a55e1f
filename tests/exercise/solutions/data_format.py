"""A solution of "data-format": (file, what stands there, what stands there afterwards)."""

EDITS = [
    (
        "train/data/reading.py",
        'FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt")',
        'FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt", ".fasttext")',
    ),
    (
        "train/data/reading.py",
        "from train.data.lines import class_folder, text_and_label\n",
        "from train.data.lines import class_folder, fasttext, text_and_label\n",
    ),
    (
        "train/data/reading.py",
        '    if suffix == ".parquet":\n',
        """\
    if suffix == ".fasttext":
        return fasttext(path, wanted)
    if suffix == ".parquet":
""",
    ),
    (
        "train/data/lines.py",
        "def class_folder(",
        '''\
def fasttext(path: Path, wanted: dict[str, str] | None) -> Table:
    """fastText's files: `__label__NAME text`, one label and one text a line."""
    mark = "__label__"

    def rows() -> Iterator[list[str]]:
        lines = ((number, without_end(line)) for number, line in text_lines(path))
        for number, line in without_blank_end(path, lines):
            label, _, text = line.partition(" ")
            if not label.startswith(mark) or label == mark or not text:
                raise ValueError(f"{path}, line {number}: a line is {mark}NAME and a text")
            if text.startswith(mark):
                raise ValueError(f"{path}, line {number}: two labels; only one can be learnt")
            yield [text, label.removeprefix(mark)]

    return Table(list(wanted.values() if wanted else ("text", "label")), rows())


def class_folder(''',
    ),
]
