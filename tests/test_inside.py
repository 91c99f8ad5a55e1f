"""trace --page: every number shown is the model's own, and the page works by mouse and keys."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from minibert import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel
from tests.parity import wake_up
from tests.tiny import REAL_VOCABULARY, tiny
from tokenizer import WordPieceTokenizer
from tokenizer.hub import demo_folder
from train.__main__ import main

TEXT = "i feel strangely homesick, but hopeful"
LABELS = {0: "sad", 1: "glad", 2: "<b>odd</b>"}


def saved(folder: Path, model_class=DistilBertForSequenceClassification, **fields) -> str:
    torch.manual_seed(0)
    wake_up(model_class(tiny(**REAL_VOCABULARY, **fields))).save_pretrained(folder)
    shutil.copy(demo_folder() / "vocab.txt", folder)
    return str(folder)


@pytest.fixture
def classifier(tmp_path) -> str:
    return saved(tmp_path / "model", id2label=LABELS)


def page_of(model: str, *texts: str) -> Path:
    page = Path(model).parent / "inside.html"
    assert main(["trace", "--model", model, "--page", str(page), *texts]) == 0
    return page


def test_a_page_takes_the_place_of_a_page_alone(classifier, tmp_path, capsys) -> None:
    (tmp_path / "mine.html").write_text("<p>mine</p>", encoding="utf-8")
    (tmp_path / "folder.html").mkdir()
    for page, error in (
        ("mine.html", "is no page of trace"),
        ("folder.html", "is no page of trace"),
        ("train.csv", "ends in .html"),
        ("none/a.html", "there is no folder"),
    ):
        assert main(["trace", "--model", classifier, "--page", str(tmp_path / page), "hi"]) == 2
        said = capsys.readouterr().err
        assert error in said and f"--page {tmp_path / page}" in said
    assert (tmp_path / "mine.html").read_text(encoding="utf-8") == "<p>mine</p>"
    assert page_of(classifier, "one") == page_of(classifier, "two"), "an earlier page is replaced"


def computed(model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].softmax(dim=-1)


def close(actual, expected: torch.Tensor) -> None:
    torch.testing.assert_close(torch.tensor(actual), expected.detach(), rtol=0, atol=1e-5)


def test_every_number_in_the_page_is_the_models_own(classifier, browse) -> None:
    page = browse(page_of(classifier, TEXT))
    seen = page.evaluate("window.trace")
    model = DistilBertForSequenceClassification.from_pretrained(classifier)
    tokenizer = WordPieceTokenizer.from_pretrained(classifier)
    ids = tokenizer(TEXT).input_ids
    assert seen["text"] == TEXT and seen["input_ids"] == ids
    assert seen["tokens"] == tokenizer.convert_ids_to_tokens(ids)
    out = model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
    close(seen["attentions"], torch.stack(out.attentions)[:, 0])
    close(seen["norms"], torch.stack(out.hidden_states)[:, 0].norm(dim=-1))
    close(seen["logits"], out.logits[0])
    probabilities = out.logits[0].softmax(dim=-1)
    close(seen["probabilities"], probabilities)
    assert seen["labels"] == list(LABELS.values())
    best = int(probabilities.argmax())
    for i, fall in enumerate(seen["leave_one_out"]):
        rest = ids[:i] + ids[i + 1 :]
        close(fall, probabilities[best] - computed(model, rest)[best])
    # The gradient by finite differences: scale token i's embedding by 1 + e.
    model.double()
    for i, share in enumerate(seen["gradient"]):
        ends = [scaled_logit(model, ids, i, 1 + e)[best] for e in (1e-6, -1e-6)]
        assert share == pytest.approx(float(ends[0] - ends[1]) / 2e-6, abs=1e-5)
    for layer, row in enumerate(seen["lens"]):
        first = out.hidden_states[layer][:, 0].double()
        hidden = torch.relu(model.pre_classifier(first))
        close(row, model.classifier(hidden)[0].softmax(dim=-1).float())
    assert page.troubles == []


def scaled_logit(model, ids: list[int], token: int, factor: float) -> torch.Tensor:
    """The logits where the embedding layer gives `token` a vector that is so many times as long."""

    def scale(module, inputs, output):
        output = output.clone()
        output[:, token] *= factor
        return output

    handle = model.distilbert.embeddings.register_forward_hook(scale)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    handle.remove()
    return logits


@pytest.mark.slow
def test_what_is_shown_is_what_the_numbers_say(classifier, browse) -> None:
    page = browse(page_of(classifier, TEXT))
    trace = page.evaluate("window.trace")
    best = max(trace["probabilities"])
    assert f"{best:.4f}" in page.locator("[data-step=answer]").inner_text()
    assert "homesick: no" in page.locator("[data-step=pieces]").inner_text()
    assert "<b>odd</b>" in page.locator("[data-step=answer]").inner_text(), "as text, not as HTML"
    shown = page.locator("[data-step=drive] td.n").all_inner_texts()
    pairs = zip(trace["gradient"], trace["leave_one_out"])
    assert shown == [f"{value:.4f}" for pair in pairs for value in pair]


@pytest.mark.slow
def test_a_head_is_picked_and_tokens_are_pinned_and_added_up_by_mouse_and_keyboard(
    classifier, browse
) -> None:
    page = browse(page_of(classifier, TEXT))
    weights = page.evaluate("window.trace.attentions")
    pickers = page.locator("[data-layer][data-head]")
    assert pickers.count() == len(weights) * len(weights[0])
    page.locator('[data-layer="1"][data-head="2"]').focus()
    page.keyboard.press("Enter")
    pressed = page.locator('[data-layer][aria-pressed="true"]')
    assert pressed.count() == 1 and pressed.get_attribute("data-head") == "2"
    page.locator('[data-token="2"]').click()
    page.locator('[data-token="3"]').focus()
    page.keyboard.press("Space")
    page.locator("h1").hover()
    assert "sum over feel, strangely" in page.locator(".readout").nth(1).inner_text()
    keys = page.locator(".lines text").all_text_contents()
    sums = [a + b for a, b in zip(weights[1][2][2], weights[1][2][3])]
    for token, value in zip(page.evaluate("window.trace.tokens"), sums):
        assert f"{token} {value:.3f}" in keys
    page.click("#one")
    assert page.locator("[data-step]:visible").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.locator("#place").inner_text().startswith("step 2 of")
    assert page.troubles == []


@pytest.mark.slow
def test_a_masked_word_is_filled_in_and_leaving_out_the_mask_says_nothing(tmp_path, browse) -> None:
    model = saved(tmp_path / "model", DistilBertForMaskedLM)
    trace = browse(page_of(model, "the [MASK] of france")).evaluate("window.trace")
    ours = DistilBertForMaskedLM.from_pretrained(model)
    ids = trace["input_ids"]
    with torch.no_grad():
        expected = ours(torch.tensor([ids])).logits[0, 2].softmax(dim=-1).topk(6)
    close(trace["probabilities"], expected.values)
    assert trace["tokens"][2] == "[MASK]" and trace["leave_one_out"][2] == 0
    with torch.no_grad():
        rest = ours(torch.tensor([ids[:1] + ids[2:]])).logits[0, 1].softmax(dim=-1)
    best = int(expected.indices[0])
    close(trace["leave_one_out"][1], expected.values[0] - rest[best])


def test_without_a_head_the_page_says_so(tmp_path, browse) -> None:
    page = browse(page_of(saved(tmp_path / "model", DistilBertModel), "hello"))
    assert "no head for this text" in page.locator("[data-step=answer]").inner_text()
    assert page.troubles == []


@pytest.mark.slow
def test_two_texts_stand_side_by_side(classifier, browse) -> None:
    page = browse(page_of(classifier, "i feel glad", "i feel sad"), width=1280)
    assert [trace["text"] for trace in page.evaluate("window.trace")] == [
        "i feel glad",
        "i feel sad",
    ]
    left, right = (page.locator(".one").nth(i).bounding_box() for i in range(2))
    assert left["y"] == right["y"] and left["x"] < right["x"]
    assert page.troubles == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_themes(classifier, browse, scheme) -> None:
    page = browse(page_of(classifier, TEXT), width=390, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.troubles == []


@pytest.mark.slow
def test_sixty_four_tokens_of_the_packaged_size_stay_under_two_megabytes(tmp_path) -> None:
    sizes = {"dim": 384, "n_layers": 6, "n_heads": 12, "hidden_dim": 32}
    fields = REAL_VOCABULARY | sizes | {"vocab_size": 30_522}
    torch.manual_seed(0)
    config = tiny(**fields, id2label=LABELS)
    DistilBertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    shutil.copy(demo_folder() / "vocab.txt", tmp_path / "model")
    page = page_of(str(tmp_path / "model"), "word " * 62)
    (packed,) = re.findall(r'id="packed">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert len(json.loads(packed)[0]["tokens"]) == 64
    assert page.stat().st_size < 2_000_000


def test_a_text_too_long_for_a_page_is_refused(classifier, capsys, tmp_path, monkeypatch) -> None:
    long = saved(tmp_path / "long", id2label=LABELS, **{})
    status = main(["trace", "--model", long, "--page", str(tmp_path / "p.html"), "word " * 60])
    assert status == 0  # cut at the model's 64 positions, and shown
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.inside.MOST", 32)
        assert (
            main(["trace", "--model", long, "--page", str(tmp_path / "q.html"), "word " * 60]) == 2
        )
    assert "up to 32 tokens" in capsys.readouterr().err and not (tmp_path / "q.html").exists()
