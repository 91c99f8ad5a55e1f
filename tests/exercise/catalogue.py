"""The exercises, in the order of a course: what is cut out of which file, and what it teaches."""

from dataclasses import dataclass, field
from difflib import get_close_matches

PACKAGES = ("tokenizer", "minibert", "train")
AFTERNOONS = {
    1: "from a text to ids",
    2: "the encoder",
    3: "weights: from files, and in 8 bits",
    4: "one training step",
    5: "the training loop",
    6: "changing the program",
}


@dataclass(frozen=True)
class Exercise:
    """One exercise; its page is pages/NAME.md and its checks are checks/NAME.py."""

    name: str
    afternoon: int
    level: int  # 1: a few plain lines; 2: some thought; 3: an evening
    teaches: str
    gaps: dict[str, list[str]] = field(default_factory=dict)  # file: what loses its bodies
    new_file: str = ""  # written from nothing; its solution stands in solutions/
    changes: str = ""  # what is to be added to the program, where nothing is cut out

    @property
    def module(self) -> str:
        """The name as a Python module's."""
        return self.name.replace("-", "_")

    @property
    def answer(self) -> str:
        """Where a solution can be read."""
        if self.gaps:
            return f"the project's own {', '.join(self.gaps)}"
        return f"tests/exercise/solutions/{self.module}.py"

    @property
    def task(self) -> str:
        """What is to be written, in one line."""
        parts = [
            f"{', '.join(f'`{name}`' for name in names)} in {file}"
            for file, names in self.gaps.items()
        ]
        return "; ".join(parts) or self.changes or f"a new file, {self.new_file}"


EXERCISES = (
    Exercise(
        "normalize",
        1,
        1,
        "what happens to a text before it is cut, and why each letter is lowered by itself",
        {
            "tokenizer/normalize.py": [
                "clean",
                "space_ideographs",
                "remove_accents",
                "lower_case",
                "normalize",
            ]
        },
    ),
    Exercise(
        "wordpiece",
        1,
        1,
        "greedy longest match; why one odd letter makes a whole word [UNK]",
        {"tokenizer/wordpiece.py": ["wordpiece"]},
    ),
    Exercise(
        "truncation",
        1,
        2,
        "how a pair is framed and cut, token by token from the longer text",
        {
            "tokenizer/truncate.py": [
                "frame",
                "Truncation.cut",
                "lengths_kept",
                "Rows.token_type_ids",
                "Rows.special_tokens_mask",
            ]
        },
    ),
    Exercise(
        "attention",
        2,
        2,
        "scores, the mask, softmax, heads; why 1/sqrt(K)",
        {"minibert/model.py": ["explicit_attention", "MultiHeadSelfAttention.forward"]},
    ),
    Exercise(
        "block",
        2,
        1,
        "embeddings, feed-forward, residual sums, and where the norm stands",
        {"minibert/model.py": ["Embeddings.forward", "FFN.forward", "TransformerBlock.forward"]},
    ),
    Exercise(
        "masked-lm",
        2,
        2,
        "a score for every word, and one table under two names (weight tying)",
        {"minibert/heads.py": ["DistilBertForMaskedLM"]},
    ),
    Exercise(
        "fold-bert",
        3,
        2,
        "a BERT of one segment is a DistilBERT: config, names and one sum",
        {"minibert/bert.py": ["translate_config", "translate_name", "fold"]},
    ),
    Exercise(
        "strict-loading",
        3,
        1,
        "what a loader must refuse, and in which words",
        {
            "minibert/header.py": ["check_header", "check_missing", "check_entry"],
            "minibert/checkpoint.py": ["check_finite"],
        },
    ),
    Exercise(
        "int8",
        3,
        2,
        "numbers as integers times a scale: what it costs, and where it is lost",
        {"minibert/int8.py": ["quantise_weight", "quantise_activations", "int8_linear"]},
    ),
    Exercise(
        "batches",
        4,
        2,
        "batches by length: no padding, yet every epoch in another random order",
        {"train/batches.py": ["Encoded.gather", "epoch_steps", "sorted_batches"]},
    ),
    Exercise(
        "cross-entropy",
        4,
        2,
        "the loss without overflow, and its gradient by hand: probability minus truth",
        new_file="cross_entropy.py",
    ),
    Exercise(
        "adamw",
        4,
        2,
        "moving averages, bias correction, and decay that is not part of the gradient",
        new_file="adamw.py",
    ),
    Exercise(
        "loss-scaling",
        4,
        3,
        "fp16's small range: scale, unscale before clipping, leave out a step that overflows",
        {"train/training/optim.py": ["LossScale", "Update.__call__"]},
    ),
    Exercise(
        "accumulation",
        5,
        2,
        "the loop and its step: 4 x 2 texts are 1 x 8, the short last step included",
        {
            "train/training/step.py": ["micro_batches", "eager_step", "train_step"],
            "train/training/loop.py": ["training"],
        },
    ),
    Exercise(
        "resume",
        5,
        3,
        "what must be saved so that a resumed run is the uninterrupted one, bit for bit",
        {
            "train/training/step.py": ["seed_step"],
            "train/training/optim.py": ["Update.tensors", "Update.load_tensors"],
            "train/training/checkpoints.py": ["save_checkpoint", "load_newest"],
        },
    ),
    Exercise(
        "schedule",
        6,
        1,
        "a branch without `if`: the rate is a tensor on the device",
        changes="`--schedule inverse_sqrt` (train/training/optim.py, train/options.py)",
    ),
    Exercise(
        "data-format",
        6,
        2,
        "a reader that is exact or refuses, with file, line and remedy",
        changes="files in fastText's format, .fasttext (train/data/)",
    ),
    Exercise(
        "token-head",
        6,
        2,
        "a class for every token: a new head, equal to transformers'",
        changes="`DistilBertForTokenClassification` (minibert/heads.py, minibert/__init__.py)",
    ),
)
BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


def find(name: str) -> Exercise:
    """The exercise of this name. Raises KeyError with the names that are close to it."""
    if name in BY_NAME:
        return BY_NAME[name]
    near = get_close_matches(name.lower().replace("_", "-"), BY_NAME, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise KeyError(f"there is no exercise {name!r}{hint}")
