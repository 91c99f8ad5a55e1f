"""python -m tokenizer: every step of a text, and one line for a mistake."""

import json
import os
import subprocess
import sys

from tests import ROOT
from tests.reference import VOCAB
from tokenizer import WordPieceTokenizer
from tokenizer.__main__ import walk

TEXT = "Tokenizing text is a core task of NLP."


def test_the_command_prints_every_step_with_the_vocabularys_answers():
    command = [sys.executable, "-m", "tokenizer", f"{TEXT} [MASK] \u2603"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert "split           tokenizing | text | is | a | core" in "\n".join(lines)
    assert "  nlp: no, nl: 17953, ##p: 2361" in lines
    assert "  [MASK]: 103" in lines
    assert "  \u2603: no -> the whole word is [UNK]" in lines
    assert any(line.startswith("input_ids       [101, 19204, 6026,") for line in lines)
    assert any(line.startswith("attention_mask  [1, 1, 1,") for line in lines)


def test_a_text_is_utf8_in_any_locale():
    command = [sys.executable, "-m", "tokenizer", "χαρά"]
    ascii = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    outputs = [
        subprocess.run(command, cwd=ROOT, capture_output=True, env=os.environ | more).stdout
        for more in (ascii, {"PYTHONUTF8": "1"})
    ]
    assert outputs[0] == outputs[1] and "χ" in outputs[0].decode("utf-8")


def test_the_command_says_in_one_line_what_is_wrong_with_a_model_name():
    command = [sys.executable, "-m", "tokenizer", "text", "--model", "../nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "../nowhere" in done.stderr


def test_importing_the_tokenizer_leaves_slow_modules_alone():
    """dataclasses and the module inspect that it imports would take 10 ms of 40."""
    code = "import sys, tokenizer; print({'dataclasses', 'shutil', 'numpy'} & set(sys.modules))"
    # -S: what site imports for installed packages does not count.
    command = [sys.executable, "-S", "-c", code]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "set()\n"


def test_a_word_is_looked_up_in_the_vocabulary_not_among_the_added_tokens(tmp_path):
    """An added token with normalized=False stands in "newword" alone, not in "NEWWORD"."""
    (tmp_path / "vocab.txt").write_bytes(VOCAB.read_bytes())
    added = {"30522": {"content": "newword", "normalized": False}}
    config = json.dumps({"added_tokens_decoder": added})
    (tmp_path / "tokenizer_config.json").write_text(config)
    tok = WordPieceTokenizer.from_pretrained(tmp_path)
    assert tok.tokenize("newword NEWWORD") == ["newword", "new", "##word"]
    found, searched = walk("newword NEWWORD", tok).pieces
    assert found == "newword: 30522"
    assert searched.startswith("newword: no, newwor: no") and "new: 2047, ##word: " in searched
