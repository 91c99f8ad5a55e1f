"""The tutorial, cell by cell and in its order, with our names: what it prints comes out here too.

What needs the official weights or the Hub carries the marker `hub`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy

from minibert import DistilBertForSequenceClassification, DistilBertModel
from tests.tiny import TEXT, TEXT_IDS
from tokenizer import WordPieceTokenizer
from tokenizer.schemes import characters, number, one_hot, words
from train.__main__ import main
from train.data import EMOTION_LABELS, Data, encode, load_data
from train.device import choose_precision
from train.explore import splits, to_frame
from train.forward import extract_features
from train.options import DataOptions

OFFICIAL = "distilbert-base-uncased"
FIRST_FIVE = [
    "i didnt feel humiliated",
    "i can go from feeling so hopeless to so damned hopeful just from being around someone who "
    "cares and is awake",
    "im grabbing a minute to post i feel greedy wrong",
    "i am ever feeling nostalgic about the fireplace i will know that it is still on the property",
    "i am feeling grouchy",
]


@pytest.fixture(scope="module")
def emotions(emotion_folder) -> Data:
    return load_data(DataOptions(dataset=str(emotion_folder)))


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    """The packaged vocabulary: it is the official one."""
    return WordPieceTokenizer.from_pretrained("demo")


@pytest.fixture(scope="module")
def df(emotions, tokenizer) -> pd.DataFrame:
    """`emotions.set_format(type="pandas")` and `df["label_name"]`."""
    return to_frame(emotions._replace(splits={"train": emotions.splits["train"]}), tokenizer)


# --- Dataset


def test_the_data_set_has_three_splits_of_texts_and_labels(emotions) -> None:
    assert {split: len(rows) for split, rows in emotions.splits.items()} == {
        "train": 16_000,
        "validation": 2_000,
        "test": 2_000,
    }
    train = emotions.splits["train"]
    assert list(train) == ["text", "label"] and emotions.labels == EMOTION_LABELS
    assert train["text"][:5].tolist() == FIRST_FIVE
    assert train["label"][:5].tolist() == [0, 0, 3, 2, 3]


def test_a_local_file_is_lines_of_text_and_label(emotion_folder, emotions) -> None:
    with open(emotion_folder / "train.txt", encoding="utf-8") as file:
        assert file.readline() == "i didnt feel humiliated;sadness\n"
    local = load_data(DataOptions(train_file=str(emotion_folder / "train.txt")))
    assert local.splits["train"].equals(emotions.splits["train"])


def test_the_first_five_rows_of_the_data_frame_have_their_label_names(df) -> None:
    head = df.head()
    assert list(head["text"]) == FIRST_FIVE and list(head["label"]) == [0, 0, 3, 2, 3]
    assert list(head["label_name"]) == ["sadness", "sadness", "anger", "love", "anger"]


def test_joy_and_sadness_are_ten_times_as_many_as_surprise(df) -> None:
    counts = df["label_name"].value_counts(ascending=True)
    assert dict(counts) == {
        "surprise": 572,
        "love": 1304,
        "fear": 1937,
        "anger": 2159,
        "sadness": 4666,
        "joy": 5362,
    }


def test_most_tweets_have_about_fifteen_words_and_none_nears_the_models_limit(df) -> None:
    assert df.groupby("label_name")["words"].median().between(15, 20).all()
    assert df["tokens"].max() == 87


# --- From text to tokens


def test_characters_as_tokens() -> None:
    tokenized_text = characters(TEXT)
    token2idx = number(tokenized_text)
    assert token2idx == {token: place for place, token in enumerate(" .LNPTacefgiknorstxz")}
    input_ids = [token2idx[token] for token in tokenized_text]
    first = [5, 14, 12, 8, 13, 11, 19, 11, 13, 10, 0, 17, 8, 18, 17, 0, 11, 16, 0]
    assert input_ids == [*first, 6, 0, 7, 14, 15, 8, 0, 17, 6, 16, 12, 0, 14, 9, 0, 3, 2, 4, 1]
    one_hot_encodings = one_hot(tokenized_text)
    assert one_hot_encodings.shape == (38, 20)
    assert one_hot_encodings.sum(dim=1).eq(1).all()
    assert tokenized_text[0] == "T" and one_hot_encodings[0].tolist() == [0] * 5 + [1] + [0] * 14


def test_words_as_tokens() -> None:
    tokenized_text = words(TEXT)
    assert tokenized_text == ["Tokenizing", "text", "is", "a", "core", "task", "of", "NLP."]
    assert one_hot(tokenized_text).shape == (8, 8)


def test_word_pieces_of_the_sentence(tokenizer) -> None:
    encoded_text = tokenizer(TEXT)
    assert encoded_text == {
        "input_ids": TEXT_IDS,
        "attention_mask": [1] * 13,
    }
    tokens = tokenizer.convert_ids_to_tokens(encoded_text["input_ids"])
    assert " ".join(tokens) == "[CLS] token ##izing text is a core task of nl ##p . [SEP]"
    joined = tokenizer.convert_tokens_to_string(tokens)
    assert joined == "[CLS] tokenizing text is a core task of nlp. [SEP]"


def test_what_the_tokenizer_says_of_itself(tokenizer) -> None:
    assert tokenizer.vocab_size == 30_522
    assert tokenizer.model_max_length == 512
    assert tokenizer.model_input_names == ["input_ids", "attention_mask"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.convert_tokens_to_ids(special) == [0, 100, 101, 102, 103]


def test_the_first_two_tweets_are_padded_to_the_longer(tokenizer, emotions) -> None:
    batch = tokenizer(emotions.splits["train"]["text"][:2].tolist(), padding=True, truncation=True)
    short = [101, 1045, 2134, 2102, 2514, 26608, 102]
    long = [101, 1045, 2064, 2175, 2013, 3110, 2061, 20625, 2000, 2061, 9636, 17772, 2074, 2013]
    long += [2108, 2105, 2619, 2040, 14977, 1998, 2003, 8300, 102]
    assert batch["input_ids"] == [short + [0] * 16, long]
    assert batch["attention_mask"] == [[1] * 7 + [0] * 16, [1] * 23]


# --- The transformer as a feature extractor


def test_hidden_states_have_a_vector_per_token_and_one_stands_for_the_text(tokenizer) -> None:
    inputs = tokenizer("this is a test", return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 6)
    model = DistilBertModel.from_pretrained("demo")
    with torch.no_grad():
        outputs = model(**inputs)
    assert outputs.last_hidden_state.shape == (1, 6, model.config.dim)
    assert outputs.last_hidden_state[:, 0].shape == (1, model.config.dim)


def test_the_feature_matrix_has_a_row_per_text(emotions, tokenizer) -> None:
    """A subset, with the packaged weights; the rows are those of single forward passes."""
    model = DistilBertModel.from_pretrained("demo")
    some = emotions.splits["train"][:64]
    encoded = encode(some, tokenizer, model.config, 512)
    x_train = extract_features(model, encoded, choose_precision("cpu", "fp32"))
    assert x_train.shape == (64, model.config.dim)
    with torch.no_grad():
        alone = model(**tokenizer(some["text"][5], return_tensors="pt")).last_hidden_state[0, 0]
    torch.testing.assert_close(torch.from_numpy(x_train[5]), alone, rtol=0, atol=1e-5)


def test_always_joy_is_right_in_0352_of_the_cases(emotions, tokenizer) -> None:
    """The tutorial's DummyClassifier: here explore and probe count it."""
    _, validation, _ = splits(to_frame(emotions, tokenizer), emotions.labels, limit=512).to_dict(
        "records"
    )
    assert validation["majority baseline (joy)"] == 0.352


def test_the_probe_is_a_logistic_regression_on_the_features(
    finished, tiny_model, half_known, few
) -> None:
    """Fitted to train and scored on validation, as the tutorial's `lr_clf` is."""
    tokenizer = WordPieceTokenizer.from_pretrained(tiny_model)
    model = DistilBertModel.from_pretrained(tiny_model)
    x_train, x_valid = (
        np.stack([hidden_state(model, tokenizer, text) for text in few.splits[split]["text"]])
        for split in ("train", "validation")
    )
    y_train, y_valid = (few.splits[split]["label"] for split in ("train", "validation"))
    lr_clf = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    lr_clf.fit(x_train, y_train)
    metrics = finished("probe", "--dataset", str(half_known)).metrics
    assert metrics["train_accuracy"] == pytest.approx(lr_clf.score(x_train, y_train), abs=0.02)
    assert metrics["eval_accuracy"] == pytest.approx(lr_clf.score(x_valid, y_valid), abs=0.05)
    assert metrics["train_accuracy"] > 1.5 * metrics["train_baseline"]
    expected = log_loss(y_valid, lr_clf.predict_proba(x_valid), labels=range(6))
    assert metrics["eval_loss"] == pytest.approx(expected, rel=1e-3)


def hidden_state(model: DistilBertModel, tokenizer: WordPieceTokenizer, text: str) -> np.ndarray:
    """`extract_hidden_states` of the tutorial: the last hidden state of [CLS], (D,)."""
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).last_hidden_state[0, 0].numpy()


# --- Fine-tuning and error analysis


@pytest.fixture(scope="module")
def half_known(few_sentences, tmp_path_factory) -> Path:
    """A folder whose validation split holds 24 texts that `learnt` is trained on and 24 others:
    some answers are right and some are wrong, whatever a long training's roundings lead to."""
    folder = tmp_path_factory.mktemp("data") / "half-known"
    shutil.copytree(few_sentences, folder)
    known = (few_sentences / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    with open(folder / "validation.csv", "a", encoding="utf-8") as file:
        file.writelines(known[1:25])
    return folder


@pytest.fixture(scope="module")
def few(half_known) -> Data:
    """The data that `learnt` is trained and `evaluated` on."""
    return load_data(DataOptions(dataset=str(half_known)))


@pytest.fixture(scope="module")
def learnt(finished, few_sentences):
    """A fine-tuning run long enough to learn its own texts, on which it is also evaluated."""
    texts = str(few_sentences / "train.csv")
    files = ("--train-file", texts, "--eval-file", texts)
    return finished("finetune", *files, "--epochs", "25", "--lr", "1e-2", "--precision", "fp32")


@pytest.fixture(scope="module")
def evaluated(finished, learnt, half_known):
    """The learnt model on the validation split, as in the tutorial's `trainer.predict`."""
    model, data = str(learnt.folder / "final"), str(half_known)
    flags = ("--split", "validation", "--precision", "fp32")  # as the tutorial's forward pass
    return finished("evaluate", "--model", model, "--dataset", data, *flags)


@pytest.fixture(scope="module")
def df_test(learnt, few) -> pd.DataFrame:
    """`forward_pass_with_label` of the tutorial on every text: text, label, predicted_label, loss;
    and the logits, which the tutorial has from `trainer.predict`."""
    tokenizer = WordPieceTokenizer.from_pretrained(learnt.folder / "final")
    model = DistilBertForSequenceClassification.from_pretrained(learnt.folder / "final")
    df = few.splits["validation"].copy()
    with torch.no_grad():
        logits = torch.cat(
            [model(**tokenizer(text, return_tensors="pt")).logits for text in df["text"]]
        )
    df["loss"] = cross_entropy(logits, torch.tensor(df["label"]), reduction="none").numpy()
    df["predicted_label"] = [few.labels[i] for i in logits.argmax(dim=-1)]
    df["label"] = [few.labels[i] for i in df["label"]]
    return df


def test_training_learns(learnt, few) -> None:
    log = [json.loads(line) for line in (learnt.folder / "log.jsonl").read_text().splitlines()]
    losses = [record["eval_loss"] for record in log if "eval_loss" in record]
    assert len(losses) == 25 and losses[-1] < 0.5 * losses[0]
    baseline = few.splits["train"]["label"].value_counts(normalize=True).max()
    assert learnt.metrics["eval_accuracy"] > 2 * baseline
    assert learnt.metrics["eval_loss"] == losses[-1]


def test_the_metrics_are_those_of_compute_metrics_on_the_tutorials_predictions(
    evaluated, df_test
) -> None:
    """accuracy and weighted F1, as the tutorial's `compute_metrics` returns them."""
    labels, preds = df_test["label"], df_test["predicted_label"]
    assert preds.nunique() > 2 and 0 < (labels == preds).mean() < 1
    metrics = evaluated.metrics
    assert metrics["eval_accuracy"] == pytest.approx(accuracy_score(labels, preds))
    assert metrics["eval_f1"] == pytest.approx(f1_score(labels, preds, average="weighted"))
    assert metrics["eval_loss"] == pytest.approx(df_test["loss"].mean(), rel=1e-4)
    assert {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second"} <= metrics.keys()


def test_every_text_has_the_label_prediction_and_loss_of_the_tutorials_forward_pass(
    evaluated, df_test
) -> None:
    ours = pd.read_csv(evaluated.folder / "predictions.csv").set_index("row").sort_index()
    for column in ("text", "label", "predicted_label"):
        assert list(ours[column]) == list(df_test[column]), column
    np.testing.assert_allclose(ours["loss"], df_test["loss"], atol=1e-4)


@pytest.mark.parametrize(("title", "ascending"), [("Highest", False), ("Lowest", True)])
def test_the_ten_texts_of_highest_and_of_lowest_loss_are_shown(
    evaluated, df_test, title, ascending
) -> None:
    expected = df_test.sort_values("loss", ascending=ascending).head(10)
    shown = evaluated.out.split(f"{title} losses\n")[1].split("\n\n")[0].splitlines()[1:]
    assert [int(line.split()[0]) for line in shown] == list(expected.index)
    assert [float(line.split()[-1]) for line in shown] == pytest.approx(
        list(expected["loss"]), abs=2e-4
    )


# --- What the official weights and the Hub's data give


@pytest.mark.hub
def test_the_hub_has_the_same_texts(emotion_folder, emotions) -> None:
    hub = load_data(DataOptions(dataset="emotion"))
    assert hub.splits["train"].equals(emotions.splits["train"])


@pytest.mark.hub
def test_the_hidden_states_of_this_is_a_test() -> None:
    tokenizer = WordPieceTokenizer.from_pretrained(OFFICIAL)
    model = DistilBertModel.from_pretrained(OFFICIAL)
    with torch.no_grad():
        hidden = model(**tokenizer("this is a test", return_tensors="pt")).last_hidden_state
    assert hidden.shape == (1, 6, 768)
    printed = [  # the first three and the last three numbers of each token
        [-0.1565, -0.1862, 0.0528, -0.1188, 0.0662, 0.5470],
        [-0.3575, -0.6484, -0.0618, -0.3040, 0.3508, 0.5221],
        [-0.2772, -0.4459, 0.1818, -0.0948, -0.0076, 0.9958],
        [-0.2841, -0.3917, 0.3753, -0.2151, -0.1173, 1.0526],
        [0.2661, -0.5094, -0.3180, -0.4203, 0.0144, -0.2149],
        [0.9441, 0.0112, -0.4714, 0.1439, -0.7288, -0.1619],
    ]
    shown = torch.cat([hidden[0, :, :3], hidden[0, :, -3:]], dim=1)
    torch.testing.assert_close(shown, torch.tensor(printed), rtol=0, atol=1e-3)


@pytest.mark.hub
def test_a_new_head_is_told_apart_from_loaded_weights() -> None:
    model = DistilBertForSequenceClassification.from_pretrained(OFFICIAL, num_labels=6)
    assert {name.partition(".")[0] for name in model.fresh} == {"pre_classifier", "classifier"}


@pytest.mark.hub
def test_the_probe_reaches_about_063(tmp_path) -> None:
    assert main(["probe", "--output-dir", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["eval_baseline"] == 0.352
    assert metrics["eval_accuracy"] == pytest.approx(0.633, abs=0.03)


@pytest.mark.hub
def test_fine_tuning_reaches_about_093(tmp_path) -> None:
    """Two epochs at batch 8: minutes on a GPU, an hour or more on a CPU."""
    assert main(["finetune", "--output-dir", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["eval_accuracy"] > 0.92
    assert metrics["eval_f1"] == pytest.approx(metrics["eval_accuracy"], abs=0.005)
