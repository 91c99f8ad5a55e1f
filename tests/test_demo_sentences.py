"""The demo sentences keep what their README promises."""

import csv
import re
from collections import Counter
from itertools import pairwise

import pytest

from train.data import DEMO_FOLDER, EMOTION_LABELS

SPLITS = ("train", "validation", "test")
OWN_NAME = {
    "sadness": r"\bsad(ness|ly|der)?\b",
    "joy": r"\bjoy(ful|fully|ous)?\b",
    "love": r"\blov(e|ed|es|ing|er)\b",
    "anger": r"\bang(er|ry|rily)\b",
    "fear": r"\bfear(ful|s|ed|ing)?\b",
    "surprise": r"\bsurpris(e|ed|ing|es)\b",
}


def read(split: str) -> list[tuple[str, str]]:
    with open(DEMO_FOLDER / f"{split}.csv", encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def sentences() -> dict[str, list[tuple[str, str]]]:
    return {split: read(split) for split in SPLITS}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def word_pairs(text: str) -> set[tuple[str, str]]:
    return set(pairwise(words(text)))


@pytest.mark.parametrize(("split", "at_least"), [("train", 150), ("validation", 25), ("test", 25)])
def test_each_label_has_enough_sentences(sentences, split, at_least):
    counts = Counter(label for _, label in sentences[split])
    assert set(counts) == set(EMOTION_LABELS)
    assert min(counts.values()) >= at_least


def test_there_are_at_least_1200_and_none_is_there_twice(sentences):
    texts = [" ".join(words(text)) for split in SPLITS for text, _ in sentences[split]]
    assert len(texts) >= 1200
    assert [text for text, n in Counter(texts).items() if n > 1] == []


def test_no_sentence_nearly_repeats_one_of_another_split(sentences):
    """More than half of the word pairs in common, and more than two, is a near repeat."""
    near = []
    for held_out, others in (("validation", ("train", "test")), ("test", ("train",))):
        seen = [(text, word_pairs(text)) for other in others for text, _ in sentences[other]]
        for text, _ in sentences[held_out]:
            pairs = word_pairs(text)
            near += [
                (text, other)
                for other, its_pairs in seen
                if len(pairs & its_pairs) > max(2, 0.5 * min(len(pairs), len(its_pairs)))
            ]
    assert near == []


def test_no_two_sentences_share_six_words_in_a_row(sentences):
    runs: Counter = Counter()
    for split in SPLITS:
        for text, _ in sentences[split]:
            tokens = words(text)
            runs.update({tuple(tokens[i : i + 6]) for i in range(len(tokens) - 5)})
    assert [run for run, n in runs.items() if n > 1] == []


def test_lengths_are_mixed_and_within_4_to_40_words(sentences):
    lengths = [len(text.split()) for split in SPLITS for text, _ in sentences[split]]
    assert min(lengths) >= 4 and max(lengths) <= 40
    assert sum(n <= 8 for n in lengths) > 100
    assert sum(n >= 25 for n in lengths) > 100


@pytest.mark.parametrize("label", EMOTION_LABELS)
def test_few_sentences_hold_their_labels_own_name(sentences, label):
    texts = [text.lower() for split in SPLITS for text, its in sentences[split] if its == label]
    assert sum(bool(re.search(OWN_NAME[label], text)) for text in texts) <= len(texts) // 15


@pytest.mark.parametrize("label", EMOTION_LABELS)
def test_openings_differ(sentences, label):
    texts = [text for split in SPLITS for text, its in sentences[split] if its == label]
    openings = Counter(tuple(words(text)[:3]) for text in texts)
    assert openings.most_common(1)[0][1] <= 5
