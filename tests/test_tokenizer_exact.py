"""Equal to the reference on all of Unicode: every code point, and random strings of all kinds."""

import hashlib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers.pre_tokenizers import BertPreTokenizer

from tests import ROOT, unicode_tables
from tests.reference import OPTIONS, SPECIAL, VOCAB, bert_normalizer, reference
from tokenizer import WordPieceTokenizer, normalize

BLOCK = 4096
N_RANDOM = 200_000
WALES = "".join(map(chr, (0x1F3F4, 0xE0067, 0xE0062, 0xE0077, 0xE006C, 0xE0073, 0xE007F)))
EMOJI = ["👍🏽", "👨\u200d👩\u200d👧", "🇩🇪", "❤️", WALES, "☃"]


def blocks() -> Iterator[str]:
    """All scalar values, each alone, between letters, and between a combining mark and a letter."""
    points = unicode_tables.SCALAR_VALUES
    assert len(points) == 1_112_064
    for start in range(0, len(points), BLOCK):
        characters = map(chr, points[start : start + BLOCK])
        yield " ".join(f"{c} a{c}b e\u0301{c}e" for c in characters)


def random_text(rng: random.Random) -> str:
    kinds = [
        lambda: "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEÉÜßøœ0123456789", k=6)),
        lambda: rng.choice(["the", "Feeling", "don't", "İstanbul", "ΌΔΟΣ", "naïve", "Ⅷ", "ǅ"]),
        lambda: "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randint(1, 4))),
        lambda: chr(rng.choice([*range(0xA0), 0xAD, 0x85, 0x200B, 0xFEFF, 0xFFFD, 0xE000, 0x2028])),
        lambda: "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(rng.randint(1, 35))),
        lambda: "".join(chr(rng.randrange(0x4E00, 0xA000)) for _ in range(rng.randint(1, 3))),
        lambda: rng.choice(EMOJI),
        lambda: rng.choice([*SPECIAL, "[sep]", "[", "]", "[MAS", "##ing", "[[CLS]]"]),
        lambda: rng.choice("ae\u0301") * rng.randint(99, 101),
        lambda: chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])),
        lambda: rng.choice("!\"#$%&'()*+,-./:;<=>?@^_`{|}~«»„“—…。、"),
        lambda: "".join(chr(rng.randrange(rng.choice([0x400, 0x590, 0x900, 0xE00]), 0x1100))),
    ]
    gaps = [" ", " ", "", "", "\n", "\t", "\u3000", "\x0b", "\xa0"]
    return "".join(rng.choice(kinds)() + rng.choice(gaps) for _ in range(rng.randint(1, 5)))


@pytest.fixture(scope="module")
def random_texts() -> list[str]:
    rng = random.Random(20_261_123)
    return [random_text(rng) for _ in range(N_RANDOM)]


@pytest.mark.slow
def test_the_frozen_tables_are_what_the_reference_says_today():
    frozen = (ROOT / "tokenizer" / "unicode.txt").read_text(encoding="utf-8")
    assert frozen == unicode_tables.source()


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_normalised_text_of_every_code_point_equals_the_references(options):
    theirs = bert_normalizer(**options)
    for block in blocks():
        assert normalize.normalize(block, **options) == theirs.normalize_str(block)


@pytest.mark.slow
def test_words_of_every_code_point_equal_the_references():
    split = BertPreTokenizer().pre_tokenize_str
    for block in blocks():
        text = normalize.clean(block)
        assert normalize.split_words(text) == [word for word, _ in split(text)]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_ids_of_random_strings_equal_the_references(random_texts, options):
    ours = WordPieceTokenizer.from_vocab(VOCAB, **options)
    actual = ours(random_texts, return_attention_mask=False)["input_ids"]
    expected = [encoding.ids for encoding in reference(**options).encode_batch_fast(random_texts)]
    assert [t for t, a, e in zip(random_texts, actual, expected) if a != e] == []


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_fast_way_and_the_definition_agree(random_texts, options):
    ours = WordPieceTokenizer.from_vocab(VOCAB, **options)
    for text in random_texts[:2_000]:
        ids = ours(text, add_special_tokens=False)["input_ids"]
        assert ids == ours.convert_tokens_to_ids(ours.tokenize(text))


@pytest.mark.slow
def test_ids_of_the_emotion_texts_equal_the_references(emotion_folder):
    texts = []
    for name in ("train", "val", "test"):
        lines = (emotion_folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        texts += [line.rpartition(";")[0] for line in lines]
    assert len(texts) == 20_000
    actual = WordPieceTokenizer.from_vocab(VOCAB)(texts)["input_ids"]
    assert actual == [encoding.ids for encoding in reference().encode_batch(texts)]


# Run by other interpreters too: the tokenizer needs the standard library alone.
DIGEST = """
import hashlib, sys
from tokenizer import WordPieceTokenizer
tok, digest = WordPieceTokenizer.from_vocab(sys.argv[1]), hashlib.sha256()
points = [*range(0xD800), *range(0xE000, 0x110000)]
for start in range(0, len(points), 4096):
    text = "\\t".join(f"a{chr(c)}b" for c in points[start : start + 4096])
    digest.update(repr(tok(text, add_special_tokens=False)["input_ids"]).encode())
print(digest.hexdigest())
"""


def pythons() -> dict[str, str]:
    """Version -> path of every interpreter that runs: ours, those on the PATH, those of pyenv."""
    paths = [sys.executable, *(shutil.which(f"python3.{minor}") for minor in range(11, 20))]
    paths += sorted(Path("~/.pyenv/versions").expanduser().glob("*/bin/python3"))
    found: dict[str, str] = {}
    for path in filter(None, paths):
        asked = subprocess.run([path, "-V"], capture_output=True, text=True)
        version = asked.stdout.removeprefix("Python ").strip()
        if asked.returncode == 0 and tuple(map(int, version.split(".")[:2])) >= (3, 11):
            found.setdefault(".".join(version.split(".")[:2]), str(path))
    return found


PYTHONS = pythons()


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """The digest of the ids of all code points, from the reference and from each Python at once."""
    running = {
        version: subprocess.Popen(
            [path, "-W", "ignore", "-c", DIGEST, VOCAB], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for version, path in PYTHONS.items()
    }
    theirs, digest = reference(), hashlib.sha256()
    for start in range(0, len(unicode_tables.SCALAR_VALUES), BLOCK):
        points = unicode_tables.SCALAR_VALUES[start : start + BLOCK]
        text = "\t".join(f"a{chr(c)}b" for c in points)
        digest.update(repr(theirs.encode(text, add_special_tokens=False).ids).encode())
    found = {version: process.communicate()[0].strip() for version, process in running.items()}
    return {"reference": digest.hexdigest(), **found}


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_ids_of_every_code_point_equal_the_references_under_every_python_at_hand(digests, version):
    assert digests[version] == digests["reference"]
