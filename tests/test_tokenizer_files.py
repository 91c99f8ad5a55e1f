"""A tokenizer's files are followed whole, equal to `tokenizers` on each, or refused by name."""

import json
import random
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, processors
from transformers import AutoTokenizer, DistilBertTokenizer

from tests.reference import SPECIAL, VOCAB, reference
from tests.test_tokenizer_exact import random_text
from tokenizer import WordPieceTokenizer

N_TEXTS = 20_000
LONGEST = 30  # characters of a random text: enough for every rule, and quick


@pytest.fixture(scope="module")
def random_texts() -> list[str]:
    rng = random.Random(20_261_125)
    return [random_text(rng)[:LONGEST] for _ in range(N_TEXTS)]


def mixed_with(tokens: list[str], texts: list[str]) -> list[str]:
    """The texts with tokens in them: as they are and in other cases, alone, in words, among marks
    and several kinds of space."""
    rng = random.Random(11)
    cases = (str, str, str, str.upper, str.lower, str.title)
    around = ("", "", " ", "  ", "\t", "\n ", "\u2003", "x", "_", "\u0301", "-")
    mixed = []
    for text in texts:
        for _ in range(rng.randint(0, 3)):
            token = rng.choice(cases)(rng.choice(tokens))
            place = rng.randint(0, len(text))
            middle = rng.choice(around) + token + rng.choice(around)
            text = text[:place] + middle + text[place:]
        mixed.append(text)
    return mixed


def load(theirs: Tokenizer, folder: Path) -> WordPieceTokenizer:
    theirs.save(str(folder / "tokenizer.json"))
    return WordPieceTokenizer.from_pretrained(folder)


def differences(ours: WordPieceTokenizer, theirs: Tokenizer, texts: list[str]) -> list[str]:
    """What differs: ids of all texts, offsets of every tenth, decoding of every hundredth."""
    encodings = theirs.encode_batch(texts)
    ids = ours(texts, return_attention_mask=False)["input_ids"]
    wrong = [t for t, a, e in zip(texts, ids, encodings) if a != e.ids]
    offsets = ours(texts[::10], return_offsets_mapping=True)["offset_mapping"]
    wrong += [t for t, a, e in zip(texts[::10], offsets, encodings[::10]) if a != e.offsets]
    for row in ids[::100]:
        for skip in (False, True):
            if ours.decode(row, skip) != theirs.decode(row, skip_special_tokens=skip):
                wrong.append(f"decoding of {row}")
    return wrong


ADDED = {
    "with the default flags": ["[USER]", "covid19", "naïve", "数", "<e>"],
    "in the vocabulary": ["hello", "##ing", "feeling", AddedToken("the", special=True)],
    "that stand alone": [
        AddedToken("cat", single_word=True),
        AddedToken("Dog", single_word=True, normalized=False),
        AddedToken("é", single_word=True, normalized=False),
        "catalogue",
    ],
    "with the space around": [
        AddedToken("[L]", lstrip=True, normalized=False),
        AddedToken("<R>", rstrip=True, special=True),
        AddedToken("both", lstrip=True, rstrip=True),
    ],
    "with space inside": ["new york", AddedToken("a\tb", normalized=False), "The End"],
    "one inside another": ["ab", "abc", "b", AddedToken("bc", normalized=False), "xABC y"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, is_lowered",
    [
        *((kind, True) for kind in ADDED),
        ("with the default flags", False),
        ("that stand alone", False),
        ("one inside another", False),
    ],
)
def test_added_tokens_are_found_as_tokenizers_finds_them(tmp_path, random_texts, kind, is_lowered):
    theirs = reference(do_lower_case=is_lowered)
    theirs.add_tokens(ADDED[kind])
    contents = [getattr(token, "content", token) for token in ADDED[kind]]
    ours = load(theirs, tmp_path)
    assert differences(ours, theirs, mixed_with([*contents, *SPECIAL], random_texts)) == []
    assert (len(ours), ours.vocab_size) == (theirs.get_vocab_size(), 30522)
    assert ours.get_vocab() == theirs.get_vocab()
    ours.save_pretrained(tmp_path / "saved")
    again = WordPieceTokenizer.from_pretrained(tmp_path / "saved")
    assert again.rules == ours.rules


def changed(folder: Path, *path: str, to: object) -> WordPieceTokenizer:
    """The tokenizer of a plain tokenizer.json with one value in it changed."""
    reference().save(str(folder / "tokenizer.json"))
    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    place = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    return WordPieceTokenizer.from_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path, value",
    [
        (("normalizer", "lowercase"), False),
        (("normalizer", "strip_accents"), False),
        (("normalizer", "clean_text"), False),
        (("normalizer", "handle_chinese_chars"), False),
        (("model", "max_input_chars_per_word"), 7),
        (("decoder", "cleanup"), False),
        (
            ("truncation",),
            {"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        ),
        (
            ("post_processor",),
            {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]},
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_settings_that_stand_only_in_tokenizer_json_are_followed(
    tmp_path, random_texts, path, value
):
    ours = changed(tmp_path, *path, to=value)
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.no_truncation()  # a call of ours cuts only where it is asked to
    assert differences(ours, theirs, random_texts) == []
    ours.save_pretrained(tmp_path / "saved")
    assert WordPieceTokenizer.from_pretrained(tmp_path / "saved").settings == ours.settings


@pytest.mark.slow
def test_another_prefix_and_other_special_tokens_are_followed(tmp_path, random_texts):
    names = dict(zip(SPECIAL, ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]))
    tokens = VOCAB.read_text(encoding="utf-8").split("\n")[:-1]
    tokens = [names.get(token, token.replace("##", "@@")) for token in tokens]
    vocab = {token: number for number, token in enumerate(tokens)}
    theirs = reference()
    theirs.model = models.WordPiece(vocab, unk_token="<unk>", continuing_subword_prefix="@@")
    theirs.decoder.prefix = "@@"
    theirs.add_special_tokens(list(names.values()))
    theirs.post_processor = processors.BertProcessing(("</s>", 102), ("<s>", 101))
    theirs.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"has no \[PAD\], \[MASK\]"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    config = {"pad_token": "<pad>", "mask_token": {"content": "<mask>", "lstrip": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = WordPieceTokenizer.from_pretrained(tmp_path)
    assert differences(ours, theirs, mixed_with([*SPECIAL, *names.values()], random_texts)) == []
    assert (ours.pad_token_id, ours.unk_token, ours.cls_token) == (0, "<unk>", "<s>")
    ours.save_pretrained(tmp_path / "saved")
    assert WordPieceTokenizer.from_pretrained(tmp_path / "saved").settings == ours.settings


def test_the_official_tokenizer_json_loads(tmp_path, random_texts):
    """Its model says nothing of its type."""
    reference().save(str(tmp_path / "tokenizer.json"))
    whole = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert whole["model"].pop("type") == "WordPiece"
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    ours = WordPieceTokenizer.from_pretrained(tmp_path)
    assert differences(ours, reference(), random_texts[::10]) == []


@pytest.mark.parametrize(
    "path, value, message",
    [
        (("normalizer",), {"type": "Lowercase"}, "its normalizer is Lowercase"),
        (("normalizer",), {"type": "Sequence", "normalizers": []}, "its normalizer is Sequence"),
        (("normalizer",), None, "its normalizer is None"),
        (("pre_tokenizer",), {"type": "Whitespace"}, "its pre_tokenizer is Whitespace"),
        (("post_processor",), None, "its post_processor is None"),
        (("post_processor", "single"), [{"Sequence": {"id": "A", "type_id": 0}}], "does not make"),
        (("normalizer", "lowercase"), "yes", "its normalizer's do_lower_case is 'yes'"),
        (("model", "max_input_chars_per_word"), "7", "word limit are"),
        (("decoder",), {"type": "ByteLevel"}, "its decoder is ByteLevel"),
        (("decoder", "prefix"), "@@", "its decoder's prefix is '@@'"),
        (("model", "type"), "BPE", "its model is BPE"),
        (("model", "vocab"), {"[UNK]": 0, "a": 2}, "without gaps"),
        (
            ("added_tokens",),
            [{"id": 40000, "content": "[N]"}],
            r"'\[N\]' has the id 40000, not 30522",
        ),
        (("added_tokens",), [{"id": 3, "content": "hello"}], "'hello' has the id 3, not 7592"),
        (("model", "vocab"), {}, "its vocabulary is empty"),
        (("added_tokens",), [{"id": 30522}], "is no added token"),
        (
            ("added_tokens",),
            [{"id": 30522, "content": "Ea", "normalized": True}, {"id": 30523, "content": "éa"}],
            "'Ea' and 'éa' are the same once normalised",
        ),
    ],
    ids=str,
)
def test_what_is_not_followed_in_a_tokenizer_json_is_refused_by_name(
    tmp_path, path, value, message
):
    with pytest.raises(ValueError, match=message) as caught:
        changed(tmp_path, *path, to=value)
    assert "tokenizer.json" in str(caught.value)


@pytest.mark.slow
def test_version_5_saves_a_tokenizer_json_and_we_load_it(tmp_path, random_texts):
    theirs = DistilBertTokenizer(vocab=str(VOCAB), model_max_length=64, padding_side="left")
    theirs.add_tokens(["[USER]", "covid19"])
    theirs.add_special_tokens({"additional_special_tokens": ["<e>"]})
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.txt").exists()
    ours = WordPieceTokenizer.from_pretrained(tmp_path)
    texts = mixed_with(["[USER]", "covid19", "<e>"], random_texts)
    assert differences(ours, theirs.backend_tokenizer, texts) == []
    assert (ours.model_max_length, ours.padding_side, ours.truncation_side) == (64, "left", "right")
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.all_special_ids == theirs.all_special_ids
    assert ours(texts[:20], padding=True, truncation=True) == theirs(
        texts[:20], padding=True, truncation=True
    )


def legacy(folder: Path, **files: object) -> WordPieceTokenizer:
    """The tokenizer of a vocab.txt with these JSON files beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_bytes(VOCAB.read_bytes())
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return WordPieceTokenizer.from_pretrained(folder)


FLAGS = {"lstrip": False, "rstrip": False, "single_word": False}
VERSION_4 = {
    "added_tokens.json": {
        "tokenizer_config": {"additional_special_tokens": ["<e>"]},
        "special_tokens_map": {
            "mask_token": {"content": "[MASK]", "normalized": False, **FLAGS, "lstrip": True},
            "additional_special_tokens": ["<e>"],
        },
        "added_tokens": {"[USER]": 30522, "covid19": 30523, "<e>": 30524},
    },
    "added_tokens_decoder": {
        "tokenizer_config": {
            "added_tokens_decoder": {
                "30522": {"content": "[USER]", "normalized": True, "special": False, **FLAGS},
                "30523": {"content": "covid19", "normalized": True, "special": False, **FLAGS},
                "30524": {"content": "<e>", "normalized": False, "special": True, **FLAGS},
            },
            "clean_up_tokenization_spaces": True,
            "additional_special_tokens": ["<e>"],
            "tokenizer_class": "DistilBertTokenizer",
        },
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("files", VERSION_4)
def test_added_tokens_of_version_4_are_found_as_transformers_finds_them(
    tmp_path, random_texts, files
):
    ours = legacy(tmp_path, **VERSION_4[files])
    theirs = DistilBertTokenizer.from_pretrained(tmp_path)
    texts = mixed_with(["[USER]", "covid19", "<e>", "[MASK]"], random_texts)
    assert (
        differences(ours, theirs.backend_tokenizer, texts) == [] or files == "added_tokens_decoder"
    )
    ids = ours(texts)["input_ids"]
    assert ids == theirs(texts)["input_ids"]
    assert ours.all_special_ids == theirs.all_special_ids
    for row in ids[::100]:
        assert ours.decode(row) == theirs.decode(row)


@pytest.mark.parametrize("loader", [AutoTokenizer, DistilBertTokenizer])
def test_transformers_loads_the_added_tokens_that_we_save(tmp_path, random_texts, loader):
    ours = legacy(tmp_path / "from", **VERSION_4["added_tokens_decoder"])
    ours.padding_side, ours.truncation_side = "left", "left"
    ours.save_pretrained(tmp_path / "to")
    theirs = loader.from_pretrained(tmp_path / "to")
    texts = mixed_with(["[USER]", "covid19", "<e>"], random_texts[::20])
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    assert (theirs.padding_side, theirs.truncation_side) == ("left", "left")


def test_nulls_in_tokenizer_config_mean_nothing_special(tmp_path):
    nulls = {"model_max_length": None, "mask_token": None, "strip_accents": None}
    ours = legacy(tmp_path, tokenizer_config=nulls)
    assert (ours.model_max_length, ours.mask_token, ours.mask_token_id) == (512, None, None)
    theirs = DistilBertTokenizer.from_pretrained(tmp_path)
    assert ours.tokenize("a [MASK]") == theirs.tokenize("a [MASK]") == ["a", "[", "mask", "]"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n", "  \n\t\n"])
def test_white_space_and_blank_lines_in_a_vocabulary_are_no_tokens(tmp_path, end):
    lines = [*SPECIAL, "hello ", "world\t", "", "##s\u3000", "", "last"]
    (tmp_path / "vocab.txt").write_bytes(("\n".join(lines) + end).encode())
    ours = WordPieceTokenizer.from_vocab(tmp_path / "vocab.txt")
    theirs = reference(tmp_path / "vocab.txt")
    for text in ("hello worlds", "last hellos", "hello  [MASK]"):
        assert ours(text).input_ids == theirs.encode(text).ids
    assert ours.convert_tokens_to_ids("last") == len(ours) - 1 == 10


@pytest.mark.parametrize(
    "config, message",
    [
        ({"pad_token": None}, "pad_token is None"),
        ({"never_split": ["word"]}, "never_split is"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize is False"),
        ({"split_special_tokens": True}, "split_special_tokens is True"),
        (
            {"tokenizer_class": "BertJapaneseTokenizer"},
            "tokenizer_class is 'BertJapaneseTokenizer'",
        ),
        ({"padding_side": "middle"}, "padding_side='middle'"),
        ({"truncation_side": "both"}, "truncation_side='both'"),
        ({"model_max_length": 0.5}, "model_max_length is 0.5"),
        ({"added_tokens_decoder": {"x": {"content": "[N]"}}}, "'x' in added_tokens_decoder"),
        ({"added_tokens_decoder": {"5": {"content": "[N]"}}}, r"'\[N\]' has the id 5, not 30522"),
    ],
    ids=str,
)
def test_what_is_not_followed_in_a_tokenizer_config_is_refused_by_name(tmp_path, config, message):
    with pytest.raises(ValueError, match=message) as caught:
        legacy(tmp_path, tokenizer_config=config)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "files, culprit",
    [
        ({"special_tokens_map": {"pad_token": 3}}, "special_tokens_map"),
        ({"special_tokens_map": {"mask_token": {"content": "[N]", "lstrip": 3}}}, "special_token"),
        ({"special_tokens_map": {"additional_special_tokens": [3]}}, "special_tokens_map"),
        ({"added_tokens": {"[N]": 5}}, "added_tokens"),
        ({"added_tokens": {"[N]": "x"}}, "added_tokens"),
        ({"added_tokens_decoder": {"5": {"content": "[N]"}}}, "tokenizer_config"),
    ],
    ids=str,
)
def test_the_file_that_is_wrong_is_the_one_that_is_named(tmp_path, files, culprit):
    if "added_tokens_decoder" in files:
        files = {"tokenizer_config": files}
    others = {"tokenizer_config": {}, "special_tokens_map": {}, "added_tokens": {}}
    with pytest.raises(ValueError) as caught:
        legacy(tmp_path, **others | files)
    assert str(caught.value).startswith(f"{tmp_path}/{culprit}")


def test_a_full_disk_leaves_the_tokenizer_that_was_saved_before(tmp_path, monkeypatch):
    ours = WordPieceTokenizer.from_pretrained("demo")
    ours.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    ours.model_max_length = 64
    with pytest.raises(OSError, match="No space left"):
        ours.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_tokens_that_vocab_txt_cannot_hold_are_saved_too(tmp_path):
    theirs = reference()
    theirs.model = models.WordPiece({**theirs.get_vocab(), "odd ": 30522}, unk_token="[UNK]")
    ours = load(theirs, tmp_path)
    ours.save_pretrained(tmp_path / "saved")
    again = WordPieceTokenizer.from_pretrained(tmp_path / "saved")
    assert again.get_vocab() == ours.get_vocab() and "odd " in again


def test_saving_over_another_tokenizer_leaves_nothing_of_it(tmp_path):
    theirs = reference()
    theirs.add_tokens(["covid19"])
    theirs.save(str(tmp_path / "tokenizer.json"))
    WordPieceTokenizer.from_pretrained("demo").save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_a_tokenizer_of_version_5_loads_by_its_hub_name_and_is_cached(stand_in, tmp_path):
    theirs = DistilBertTokenizer(vocab=str(VOCAB), model_max_length=64)
    theirs.add_tokens(["covid19"])
    theirs.save_pretrained(tmp_path)
    stand_in.add("owner/five", {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    texts = ["has covid19", "COVID19s [MASK]"]
    for _ in range(2):  # from the Hub, then without a single request
        ours = WordPieceTokenizer.from_pretrained("owner/five")
        assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
        assert ours.model_max_length == 64
        fetched = [line for line in stand_in.requests if line.startswith("GET")]
        stand_in.requests.clear()
        stand_in.fault("", "drop")
    assert fetched == []


def places_in(value: object, path: tuple = ()) -> list[tuple]:
    """The paths to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inside:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += places_in(item, (*path, key))
    return found


def damaged(value: dict, rng: random.Random) -> dict:
    """A copy with one value in it deleted or of another kind."""
    whole = json.loads(json.dumps(value))
    *path, last = rng.choice(places_in(whole))
    place = whole
    for key in path:
        place = place[key]
    place[last] = rng.choice([None, True, -1, 3.5, 1e30, "", "x", [], {}, [1], {"content": "a"}])
    if rng.random() < 0.3:
        del place[last]
    return whole


def test_damaged_files_are_read_or_refused_and_never_a_traceback(tmp_path):
    rng = random.Random(2)
    tokens = [*SPECIAL, "a", "##b"]
    theirs = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    theirs.normalizer, theirs.pre_tokenizer = reference().normalizer, reference().pre_tokenizer
    theirs.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    theirs.add_special_tokens(SPECIAL)
    theirs.add_tokens(["[N]"])
    theirs.enable_truncation(8)
    theirs.enable_padding()
    whole = json.loads(theirs.to_str())
    config = {
        "model_max_length": 64,
        "mask_token": {"content": "[MASK]", "lstrip": True},
        "padding_side": "left",
        "extra_special_tokens": ["<e>"],
        "added_tokens_decoder": {"7": {"content": "[N]"}},
    }
    n_read = 0
    for is_json in [True, False] * 300:
        for path in tmp_path.iterdir():
            path.unlink()
        if is_json:
            (tmp_path / "tokenizer.json").write_text(json.dumps(damaged(whole, rng)))
        else:
            (tmp_path / "vocab.txt").write_text("\n".join(tokens))
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(damaged(config, rng)))
        try:
            ours = WordPieceTokenizer.from_pretrained(tmp_path)
        except ValueError as error:
            assert str(tmp_path) in str(error)
        else:
            n_read += 1
            assert ours.decode(ours("ab [N]", truncation=True).input_ids)
    assert 50 < n_read < 550
