"""Characters and words as tokens, with the numbers that the tutorial prints."""

import subprocess
import sys

import torch

from tests import ROOT
from tokenizer import schemes

TEXT = "Tokenizing text is a core task of NLP."


def test_characters_and_their_ids_are_the_tutorials():
    tokens = schemes.characters(TEXT)
    ids = schemes.number(tokens)
    assert tokens[:5] == ["T", "o", "k", "e", "n"]
    assert (len(tokens), len(ids)) == (38, 20)
    assert list(ids) == list(" .LNPTacefgiknorstxz")
    assert [ids[token] for token in tokens][:9] == [5, 14, 12, 8, 13, 11, 19, 11, 13]


def test_one_hot_characters_have_the_tutorials_shape_and_first_row():
    encoded = schemes.one_hot(schemes.characters(TEXT))
    assert encoded.shape == torch.Size([38, 20])
    assert encoded[0].tolist() == [0] * 5 + [1] + [0] * 14
    assert encoded.sum(dim=1).eq(1).all()


def test_words_keep_their_full_stop():
    words = schemes.words(TEXT)
    assert words == ["Tokenizing", "text", "is", "a", "core", "task", "of", "NLP."]
    assert schemes.one_hot(words).shape == torch.Size([8, 8])


def test_the_command_prints_every_step_with_the_vocabularys_answers():
    command = [sys.executable, "-m", "tokenizer", f"{TEXT} [MASK] \u2603"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert "split           tokenizing | text | is | a | core" in "\n".join(lines)
    assert "  nlp: no, nl: 17953, ##p: 2361" in lines
    assert "  [MASK]: 103" in lines
    assert "  \u2603: no -> the whole word is [UNK]" in lines
    assert any(line.startswith("input_ids       [101, 19204, 6026,") for line in lines)
    assert any(line.startswith("attention_mask  [1, 1, 1,") for line in lines)


def test_the_command_says_in_one_line_what_is_wrong_with_a_model_name():
    command = [sys.executable, "-m", "tokenizer", "text", "--model", "../nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "../nowhere" in done.stderr
