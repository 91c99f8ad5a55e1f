"""The official weights give the numbers that others have published. Run by `make test-hub`."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minibert import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel
from tests.tiny import TEXT, TEXT_IDS
from tokenizer import WordPieceTokenizer

pytestmark = pytest.mark.hub

OFFICIAL = "distilbert-base-uncased"
FILM_REVIEWS = [  # rust-bert's example
    "Probably my all-time favorite movie, a story of selflessness, sacrifice and dedication to a "
    "noble cause, but it's not preachy or boring.",
    "This film tried to be too many things all at once: stinging political satire, Hollywood "
    "blockbuster, sappy romantic comedy, family values promo...",
    "If you like original gut wrenching laughter you will like this movie. If you are young or old "
    "then you will love this movie, hell even my mom liked it.",
]


@pytest.fixture(scope="module")
def encoder() -> DistilBertModel:
    return DistilBertModel.from_pretrained(OFFICIAL)


@pytest.fixture(scope="module")
def masked_lm() -> DistilBertForMaskedLM:
    return DistilBertForMaskedLM.from_pretrained(OFFICIAL)


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer.from_pretrained(OFFICIAL)


def assert_published(actual: Tensor, expected: list, atol: float = 1e-4) -> None:
    assert_close(actual, torch.tensor(expected), rtol=0, atol=atol)


def test_the_parameters_are_as_many_as_the_paper_counts(encoder, masked_lm) -> None:
    def count(model):
        return sum(parameter.numel() for parameter in model.parameters())

    assert count(encoder) == 66_362_880
    assert count(masked_lm) == 66_985_530
    assert encoder.fresh == masked_lm.fresh == []


@torch.inference_mode()
def test_the_encoder_gives_the_slice_of_transformers_own_integration_test(encoder) -> None:
    ids = torch.tensor([[0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]])
    mask = torch.tensor([[0] + [1] * 10])
    hidden = encoder(ids, mask).last_hidden_state
    assert hidden.shape == (1, 11, 768)
    expected = [[-0.1639, 0.3299, 0.1648], [-0.1746, 0.3289, 0.1710], [-0.1884, 0.3357, 0.1810]]
    assert_published(hidden[0, 1:4, 1:4], expected)


@torch.inference_mode()
def test_the_encoder_gives_the_slice_of_bumblebees_test(encoder, tokenizer) -> None:
    ids = tokenizer("Hello, my dog is cute", return_tensors="pt")["input_ids"]
    assert ids.tolist() == [[101, 7592, 1010, 2026, 3899, 2003, 10140, 102]]
    expected = [[0.1483, 0.3433, -0.5248], [0.5309, 0.3716, 0.0803], [0.3805, 0.5581, -0.4261]]
    assert_published(encoder(ids).last_hidden_state[0, 1:4, 1:4], expected)


@torch.inference_mode()
def test_the_masked_lm_gives_the_slice_of_bumblebees_test(masked_lm) -> None:
    ids = torch.tensor([[101, 1996, 3007, 1997, 2605, 2003, 103, 1012, 102]])
    logits = masked_lm(ids).logits
    assert logits.shape == (1, 9, 30522)
    expected = [
        [-14.1975, -13.9020, -13.9615],
        [-8.8192, -8.5549, -8.3866],
        [-13.4315, -13.2120, -13.3121],
    ]
    assert_published(logits[0, 1:4, 1:4], expected)


@torch.inference_mode()
def test_the_model_cards_fillers_come_with_their_scores(masked_lm, tokenizer) -> None:
    ids = tokenizer("Hello I'm a [MASK] model.", return_tensors="pt")["input_ids"]
    (position,) = (ids[0] == tokenizer.mask_token_id).nonzero()[0].tolist()
    top = masked_lm(ids).logits[0, position].softmax(dim=-1).topk(5)
    words = ["role", "fashion", "business", "model", "modeling"]
    assert tokenizer.convert_ids_to_tokens(top.indices.tolist()) == words
    assert_published(top.values, [0.05292856, 0.03968576, 0.03474352, 0.03462274, 0.01814519])


@pytest.mark.parametrize(
    ("text", "position", "word"),
    [
        ("Looks like one [MASK] is missing", 4, "person"),
        ("It's like comparing [MASK] to apples", 6, "pear"),
    ],
)
@torch.inference_mode()
def test_the_likeliest_fillers_are_rust_berts(masked_lm, tokenizer, text, position, word) -> None:
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert ids[0, position] == tokenizer.mask_token_id
    likeliest = int(masked_lm(ids).logits[0, position].argmax())
    assert tokenizer.convert_ids_to_tokens(likeliest) == word


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (TEXT, TEXT_IDS),
        ("hello world", [101, 7592, 2088, 102]),
        ("hello neural network for NLP", [101, 7592, 15756, 2897, 2005, 17953, 2361, 102]),
    ],
)
def test_the_official_vocabulary_gives_the_published_ids(tokenizer, text, ids) -> None:
    assert tokenizer(text)["input_ids"] == ids


@torch.inference_mode()
def test_a_film_review_classifier_from_the_hub_gives_rust_berts_scores() -> None:
    name = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
    model = DistilBertForSequenceClassification.from_pretrained(name)
    tokenizer = WordPieceTokenizer.from_pretrained(name)
    assert model.config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}
    encoded = tokenizer(FILM_REVIEWS, padding=True, return_tensors="pt")
    shares = model(encoded["input_ids"], encoded["attention_mask"]).logits.softmax(dim=-1)
    assert shares.argmax(dim=-1).tolist() == [1, 0, 1]
    assert_published(shares.max(dim=-1).values, [0.9981, 0.9927, 0.9997], atol=2e-4)


@torch.inference_mode()
def test_an_emotion_classifier_from_the_hub_gives_bumblebees_logits() -> None:
    model = DistilBertForSequenceClassification.from_pretrained(
        "joeddav/distilbert-base-uncased-go-emotions-student"
    )
    logits = model(torch.tensor([[101, 1045, 2514, 5341, 2000, 2022, 2182, 1012, 102]])).logits
    assert logits.shape == (1, 28)
    assert_published(logits[0, 1:5], [-0.2951, -1.8836, -1.9071, 1.2820])
