"""docs/tutorial.ipynb: the tutorial's cells with our names, run from the first to the last."""

import re

import nbformat
import pytest

from tests.notebook import NOTEBOOK, executed
from tests.tiny import TEXT_IDS


def cells(notebook: nbformat.NotebookNode, kind: str = "code") -> list:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def printed(cell: nbformat.NotebookNode) -> str:
    """All that a cell prints and shows, as text."""
    outputs = (out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs)
    return "\n".join(outputs)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> list:
    """The code cells after a run where the emotion set is not at hand."""
    return cells(executed(tmp_path_factory.mktemp("notebook"), emotion="not/here"))


@pytest.mark.slow
def test_without_the_emotion_set_it_runs_to_its_end_on_the_demo_sentences(run) -> None:
    assert "runs on MiniBERT's own demo sentences" in printed(run[0])
    assert [cell.execution_count for cell in run] == list(range(1, len(run) + 1))


@pytest.mark.slow
def test_it_prints_what_the_tutorial_prints(run) -> None:
    """Where that depends neither on the data nor on the size of the model."""
    everything = "\n".join(printed(cell) for cell in run)
    tokens = "['[CLS]', 'token', '##izing', 'text', 'is', 'a', 'core', 'task', 'of', 'nl', '##p', "
    for shown in (
        f"{{'input_ids': {TEXT_IDS}, 'attention_mask': {[1] * 13}}}",
        tokens + "'.', '[SEP]']",
        "[CLS] tokenizing text is a core task of nlp. [SEP]",
        "torch.Size([38, 20])",
        "One-hot: tensor([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])",
        "['Tokenizing', 'text', 'is', 'a', 'core', 'task', 'of', 'NLP.']",
        "(30522, 512, ['input_ids', 'attention_mask'])",
        "Input tensor shape: torch.Size([1, 6])",
    ):
        assert shown in everything


@pytest.mark.slow
def test_the_command_and_the_tutorials_forward_pass_give_the_same_losses(run) -> None:
    (cell,) = [cell for cell in run if "def forward_pass_with_label" in cell.source]
    assert float(re.search(r"[\d.e-]+$", printed(cell))[0]) < 1e-4


@pytest.mark.slow
def test_figures_are_inline(run) -> None:
    pictures = [out for cell in run for out in cell.outputs if "image/png" in out.get("data", {})]
    assert len(pictures) == 5  # classes, words, map, and two confusion matrices


def test_what_is_stored_shows_every_result_and_no_path_of_a_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    silent = [cell.source for cell in cells(notebook) if not cell.outputs]
    assert silent == [], "run: python -m tests.notebook"
    text = "\n".join(printed(cell) for cell in cells(notebook))
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|usr|Users)/", text)
    assert "Traceback" not in text


def test_the_tutorial_is_named_and_linked_and_each_of_its_cells_has_a_row() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    first, *_, table = (cell.source for cell in cells(notebook, "markdown"))
    assert "Huggingface Transformers学习(二)——文本分类" in first
    assert "](https://fancyerii.github.io)" in first
    calls = (
        "list_datasets load_dataset set_format int2str plot.barh boxplot token2idx one_hot "
        "AutoTokenizer convert_ids_to_tokens convert_tokens_to_string emotions.map AutoModel "
        "extract_hidden_states UMAP hexbin LogisticRegression DummyClassifier confusion_matrix "
        "AutoModelForSequenceClassification compute_metrics TrainingArguments trainer.predict "
        "forward_pass_with_label sort_values"
    )
    left = "\n".join(row.split(" | ")[0] for row in table.splitlines())
    assert [call for call in calls.split() if call not in left] == []
