"""docs/WHY.md is true: its examples run, its names exist, its figures are saved ones, and its
tables say what its sentences say."""

import ast
import doctest
import re

import numpy as np
import pytest
import torch

from minibert import DistilBertForSequenceClassification
from tests import ROOT
from tests.benchmarks import why
from tests.readme import MARKED, saved
from train.batches import Encoded
from train.device import choose_precision
from train.forward import predict_logits

PAGE = ROOT / "docs" / "WHY.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCED = re.compile(r"```.*?```", re.DOTALL)

# Numbers in sentences that come from neither a table nor an example of their section.
DEFINED = {
    "16,000": "training tweets of the emotion set",
    "1,338": "training sentences of the demo",
    "99 %": "an example",
    "65,536": "the factor of LossScale",
    "1,000": "steps of the decay experiment",
    "2,000": "weights of the decay experiment",
    "0.1": "an example: what a teacher may say",
    "0.2": "an example",
    "0.3": "an example",
    "0.001": "the rate of the decay experiment",
    "0.01": "--weight-decay's default",
    "0.02": "initializer_range",
    "40 %": "Sanh et al., abstract",
    "97 %": "Sanh et al., abstract",
    "60 %": "Sanh et al., abstract",
}


def rows(name: str) -> dict[str, list[str]]:
    """A saved table: the cells of each row by its first cell."""
    lines = [line for line in saved(name).splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def number(cell: str) -> float:
    """The first number of a cell; a percentage as a share."""
    value = float(re.search(r"[-+]?[\d.]+(e[-+]?\d+)?", cell.replace(",", ""))[0])
    return value / 100 if "%" in cell else value


def numbers(name: str) -> dict[str, list[float]]:
    return {key: [number(cell) for cell in cells] for key, cells in rows(name).items()}


# The page.


def test_the_examples_run_and_give_what_they_show():
    """Fences are made blank lines, which end an output; as they are, doctest would expect them."""
    blank = re.sub(r"^```.*$", "", TEXT, flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(blank, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 40
    results = doctest.DocTestRunner().run(test)
    assert results.failed == 0


def test_every_experiment_is_on_the_page():
    shown = [name for _, name, _ in MARKED.findall(TEXT)]
    assert sorted(shown) == sorted(["why", *(f"why_{name}" for name in why.EXPERIMENTS)])


def test_the_functions_that_the_page_explains_exist():
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)", TEXT)
    assert len(links) > 20
    missing = [(name, file) for name, file in links if not defines(file, name)]
    assert missing == []


def defines(file: str, name: str) -> bool:
    """Whether a file defines a class, function, method or constant of this dotted name."""
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    for part in name.split("."):
        named = [node for node in body if part in names_of(node)]
        if not named:
            return False
        body = getattr(named[0], "body", [])
    return True


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.AnnAssign | ast.Assign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [target.id for target in targets if isinstance(target, ast.Name)]
    return [getattr(node, "name", "")]


def test_every_section_names_its_source():
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    assert len(sections) >= 16
    assert [s.partition("\n")[0] for s in sections if "\nSource: [`" not in s] == []


def test_links_lead_to_a_file_and_to_a_heading_in_it():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", FENCED.sub("", TEXT))
    assert len(links) > 30
    for link in links:
        name, _, anchor = link.partition("#")
        file = (PAGE.parent / name).resolve() if name else PAGE
        assert file.exists(), link
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), link


def anchors(page: str) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_figure_in_a_sentence_stands_in_its_section_s_tables_or_examples():
    figure = re.compile(r"(?<![\w./])(?:\d[\d,]*\.\d+|\d+,\d{3}[\d,]*|\d+ %)(?![\w/])")
    found = 0
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE):
        blocks = "\n".join(FENCED.findall(section) + [m[0] for m in MARKED.finditer(section)])
        prose = re.sub(r"arXiv [\d.]+", "", FENCED.sub("", MARKED.sub("", section)))
        for text in figure.findall(prose):
            found += 1
            assert text in DEFINED or text in blocks, (section.partition("\n")[0], text)
    assert found > 10


# The experiments.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decay", "decay_sizes", "bias_correction", "batches"])
def test_the_experiments_still_give_what_was_saved(name):
    """Those that take seconds; digits may differ between processors, results may not."""
    made, kept = (
        [[number(cell) for cell in re.findall(r"[-+]?\d[\d.,]*%?", text)] for text in texts]
        for texts in ((why.EXPERIMENTS[name]().splitlines()), saved(f"why_{name}").splitlines())
    )
    assert sum(map(len, kept)) > 8
    assert len(made) == len(kept)
    for now, then in zip(made, kept):
        assert now == pytest.approx(then, rel=0.02, abs=0.01)


def few_sentences() -> tuple[Encoded, np.ndarray]:
    data = why.encoded()["validation"]
    texts = [data.batch(np.array([row]))[0][0].tolist() for row in range(12)]
    return Encoded(texts), why.labels("validation")[:12]


@pytest.mark.slow
def test_the_last_block_on_frozen_states_is_the_whole_model():
    """Else the runs with one change each would be runs of another model than the program's."""
    data, answers = few_sentences()
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification.from_pretrained("demo", num_labels=6, new_head=True)
    cpu = choose_precision("cpu", "fp32")
    whole = predict_logits(model, data, cpu, title=None)
    places, states = why.freeze(data, answers)
    encoder = why.last_block(model)
    encoder.embeddings = states
    assert len(encoder.blocks) == 1
    np.testing.assert_allclose(predict_logits(model, places, cpu, title=None), whole, atol=1e-5)
    assert whole.std(axis=0).min() > 1e-3  # the texts differ


@pytest.mark.parametrize("order", ["by length", "shuffled", "short to long"])
def test_every_order_has_every_text_once(order):
    lengths = np.random.default_rng(0).integers(3, 40, 100)
    steps = why.make_steps(lengths, 0, order)
    rows = [steps[k] for k in range(steps.per_epoch)]
    assert sorted(np.concatenate(rows)) == list(range(100))
    means = [lengths[step].mean() for step in rows]
    assert (np.diff(means) >= 0).all() == (order == "short to long")


@pytest.mark.slow
def test_a_change_changes_the_run(monkeypatch):
    """Each of them trains otherwise than the usual run does."""
    data, answers = few_sentences()
    frozen = why.freeze(data, answers)
    monkeypatch.setattr(why, "frozen", lambda split: frozen)
    monkeypatch.setattr(why, "labels", lambda split: answers)
    monkeypatch.setattr(why, "BATCH", 3)
    changes = [
        change for change in why.CHANGES if change.rate == why.HIGH or "decay" in change.name
    ]
    changes = [change._replace(rate=why.HIGH, warmup=min(change.warmup, 4)) for change in changes]
    changes += [why.Change("dropout", why.HIGH, dropout=False)]
    changes += [why.Change(o, why.HIGH, order=o) for o in ("shuffled", "short to long")]
    usual = why.fine_tune(why.Change("usual", why.HIGH), 0)
    again = why.fine_tune(why.Change("usual", why.HIGH), 0)
    np.testing.assert_array_equal(usual.losses, again.losses)
    for change in changes:
        if change.name != "usual":
            ran = why.fine_tune(change, 0)
            assert len(ran.losses) == len(usual.losses) == 12
            assert not np.array_equal(ran.losses, usual.losses), change


# What the sentences say of the tables.


def test_scores_without_the_root_grow_with_the_head_and_their_slope_shrinks():
    table = numbers("why_scores")
    random = {size: table[f"random numbers, K = {size}"] for size in (8, 32, 128, 512)}
    for size, (variance, *_) in random.items():
        assert variance == pytest.approx(size, rel=0.05)
    slopes = [row[2] for row in random.values()]
    assert slopes == sorted(slopes, reverse=True) and slopes[0] > 5 * slopes[-1]
    rooted = [row[4] for row in random.values()]
    assert max(rooted) < 1.02 * min(rooted)
    trained = table["packaged weights, K = 32"]
    assert trained[0] > 2 * random[32][0]  # wider than random ones
    assert trained[1] < 2 < trained[3]  # keys: one alone, several


def test_without_sum_and_norm_no_gradient_and_without_the_sum_no_difference():
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in saved("why_depth").splitlines()[2:]
    ]
    table = {(name, size): [float(cell) for cell in cells] for name, size, *cells in lines}
    post, pre = "sum, then norm (BERT)", "norm, sublayer, sum (GPT-2)"
    assert table["neither norm nor sum", "x 1"][0] < 1e-15
    first, _, last, alike = table["norm, but no sum", "x 1"]
    assert first > last and alike > 0.99
    for name in (post, pre):
        first, _, last, alike = table[name, "x 1"]
        assert 0.5 < first / last < 3 and alike < 0.6
    assert table[post, "x 3"][3] > 0.99 and table[pre, "x 3"][3] < 0.9


def test_the_tanh_curve_would_leave_two_equal_digits_and_almost_all_answers():
    values = [row[0] for row in numbers("why_gelu").values()]
    curve, _, states, rounding, moved = values
    assert curve < 1e-3 and 1e-3 < states < 1e-2 and states > 1000 * rounding
    assert moved <= 2


def test_uncorrected_first_steps_are_several_times_too_long():
    table = numbers("why_bias_correction")
    assert max(row[2] for row in table.values()) > 5
    assert table["1"][2] > 3
    assert {row[3] for row in table.values()} == {1.0}


def test_decay_inside_the_gradient_depends_on_the_gradient():
    inside, outside = zip(*numbers("why_decay").values())
    assert list(inside) == sorted(inside, reverse=True) and inside[0] > 0.98 and inside[-1] < 0.5
    assert max(outside) - min(outside) < 0.005


def test_decay_does_nothing_in_fine_tuning_and_much_in_pretraining():
    left = {name: float(row[-1]) for name, row in rows("why_decay_sizes").items()}
    assert min(left["the demo"], left["the tutorial"]) > 0.999
    assert left["BERT's pretraining (arXiv 1810.04805)"] < 0.7


def test_what_16_bits_lose():
    table = {
        name: dict(zip(("fp32", "bf16", "fp16"), row))
        for name, row in numbers("why_precision").items()
    }
    assert table["largest error of 1,000 losses"]["bf16"] > 0.01
    assert table["weights that a step of 2e-5 does not move"]["bf16"] > 0.5
    assert table["weights that a step of 2e-5 does not move"]["fp32"] == 0
    assert table["gradients that become 0"]["fp16"] < 0.005
    small, scaled = (table[f"gradients / 100{scale} that become 0"] for scale in ("", " x 65,536"))
    assert small["fp16"] > 0.05 and small["bf16"] == 0 and scaled["fp16"] < 0.001


def test_the_mask_leaves_rounding_and_without_it_answers_change():
    masked, plain = (numbers("why_padding")[name] for name in ("with the mask", "without it"))
    assert masked[0] < 1e-5 and plain[0] > 0.1
    assert masked[1] > plain[1] + 0.03


def test_batches_by_length_have_little_padding_and_lean_to_a_class():
    table = numbers("why_batches")
    assert table["by length"][0] < 0.03 and table["shuffled"][0] > 0.3
    assert table["by length"][2] > table["shuffled"][2]


def test_the_mean_is_the_better_frozen_feature():
    table = numbers("why_pooling")
    assert table["embeddings"][0] == pytest.approx(1 / 6, abs=0.001)
    assert all(mean > first for first, mean in table.values())
    means = [mean for _, mean in table.values()]
    assert means[0] > 0.85 * max(means) and means[-1] < max(means)


def test_the_probe_s_minimum_is_reached_and_is_not_the_best_classifier():
    table = numbers("why_stopping")
    ours, end = table["gradient below 1e-4 (ours)"], table["gradient below 1e-8"]
    assert abs(ours[4] - end[4]) < 0.005 and ours[2] > 0.99
    assert table["after 3"][4] > ours[4] + 0.04
    assert table["penalty x 1,000, below 1e-8"][4] > ours[4] + 0.04


def test_wordpiece_is_nearly_as_short_as_words_and_knows_all():
    lines = [line.strip("| ").split(" | ") for line in saved("why_tokens").splitlines()[2:]]
    assert len(lines) == 6
    for characters, words, pieces in (lines[:3], lines[3:]):
        assert number(pieces[4]) < 1.25 * number(words[4]) < 0.5 * number(characters[4])
        assert number(pieces[6]) == number(characters[6]) == 0 < number(words[6])


def test_the_insurances_make_no_difference_at_the_usual_rate_and_much_at_the_high_one():
    runs: dict[tuple[str, str], list[str]] = {}
    for line in saved("why_training").splitlines()[2:]:
        rate, name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        runs[rate, name] = cells
    low = {name: cells for (rate, name), cells in runs.items() if rate == "0.0002"}
    high = {name: cells for (rate, name), cells in runs.items() if rate == "0.005"}
    spread = float(low["usual"][0].partition("±")[2])
    gains = {name: number(cells[1]) for name, cells in low.items() if name != "usual"}
    assert len(gains) == 8 and max(map(abs, gains.values())) < spread
    assert gains["rate does not fall"] > 0
    assert number(low["usual"][3]) > 0.8  # clipping changes almost every step
    assert number(low["no dropout"][2]) < number(low["usual"][2])
    for name in (
        "batches shuffled, not by length",
        "batches from short to long texts",
        "no dropout",
    ):
        assert abs(gains[name]) < float(low[name][1].partition("±")[2])
    gains = {name: number(cells[1]) for name, cells in high.items() if name != "usual"}
    errors = {name: float(high[name][1].partition("±")[2]) for name in gains}
    assert max(gains, key=gains.get) == "warm-up over a tenth of the steps"
    for name, sign in (
        ("warm-up over a tenth of the steps", 1),
        ("rate does not fall", -1),
        ("no clipping", -1),
    ):
        assert sign * gains[name] > 2 * errors[name]
    assert gains["warm-up, no clipping"] < gains["warm-up over a tenth of the steps"]
