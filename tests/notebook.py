"""Run docs/tutorial.ipynb from its first cell to its last: python -m tests.notebook keeps what it
shows, from a run on the emotion set.
"""

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests import EMOTION, ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def executed(folder: Path, emotion: Path | str) -> nbformat.NotebookNode:
    """The notebook as it is after a run in `folder`, offline; emotion: folder of the data set.

    Raises nbclient's CellExecutionError with the cell that failed."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = os.environ | {
        "MINIBERT_EMOTION": str(emotion),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
    }
    # UMAP's compiler sets the number of threads for torch too.
    if "OMP_NUM_THREADS" in environment:
        environment.setdefault("NUMBA_NUM_THREADS", environment["OMP_NUM_THREADS"])
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def without_progress(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Standard error and times left out: they say nothing to a reader, and differ every time."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    if not (EMOTION / "train.txt").exists():
        raise SystemExit(f"the emotion files are not at {EMOTION}; name them: MINIBERT_EMOTION")
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(without_progress(executed(Path(folder), EMOTION)), NOTEBOOK)
