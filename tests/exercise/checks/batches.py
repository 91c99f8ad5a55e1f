"""Batches: what must hold of every epoch and every padded batch, whatever the random order."""

import numpy as np
import torch

from tests.exercise.words import Wrong, equal
from train.batches import Encoded, epoch_steps, padding_share, sorted_batches

LENGTHS = np.random.default_rng(0).integers(3, 88, size=1003)
TEXTS = [[5, 6, 7], [8], [9, 10]]


def check_gather() -> None:
    """Encoded.gather: rows padded on the right to a width, with their mask and labels"""
    data = Encoded(TEXTS, labels=[2, 0, 1], pad_id=4)
    ids, mask, labels = data.gather(torch.tensor([2, 0]), width=4)
    equal(
        ids.tolist(),
        [[9, 10, 4, 4], [5, 6, 7, 4]],
        "the ids of rows 2 and 0 in width 4",
        {
            "when padding is 0 and not pad_id": [[9, 10, 0, 0], [5, 6, 7, 0]],
            "when the rows are not looked up": [[5, 6, 7, 4], [8, 4, 4, 4]],
            "when what stands behind a text is not replaced": [[9, 10, 10, 10], [5, 6, 7, 8]],
            "when padding stands on the left": [[4, 4, 9, 10], [4, 5, 6, 7]],
        },
    )
    equal(mask.tolist(), [[True, True, False, False], [True, True, True, False]], "their mask")
    equal(labels.tolist(), [1, 2], "their labels", {"when the rows are not looked up": [2, 0]})
    for name, tensor, dtype in (
        ("ids", ids, torch.int64),
        ("mask", mask, torch.bool),
        ("labels", labels, torch.int64),
    ):
        equal(tensor.dtype, dtype, f"the dtype of the {name}")


def check_batch() -> None:
    """Encoded.batch, which uses gather: as wide as the longest text; no mask if none is padded"""
    data = Encoded([*TEXTS, [1, 2]])
    ids, mask, _ = data.batch(np.array([1, 2]))
    equal(ids.tolist(), [[8, 0], [9, 10]], "the ids of rows 1 and 2")
    equal(mask.tolist(), [[True, False], [True, True]], "their mask")
    equal(data.batch(np.array([2, 3]))[1], None, "the mask of two texts of one length")


def check_each_once() -> None:
    """epoch_steps: every text is in exactly one step, and all steps but the last are full"""
    for size in (1, 8, 32, 1003, 5000):
        steps = epoch_steps(LENGTHS, size, seed=1, epoch=0)
        rows = np.concatenate(steps) if len(steps) else np.array([], int)
        missing = sorted(set(range(1003)) - set(rows.tolist()))
        if missing:
            raise Wrong(
                f"{len(missing)} of 1003 texts are in no step of {size} (row {missing[0]} first). "
                "Texts that fill no whole step make a last, short one."
            )
        if len(rows) > 1003:
            raise Wrong(f"With steps of {size}, {len(rows) - 1003} texts come more than once.")
        sizes = [len(step) for step in steps]
        expected = [size] * (1003 // size) + [1003 % size] * (1003 % size > 0)
        equal(sizes, expected, f"the sizes of the steps, for steps of {size},")


def check_seed_and_epoch() -> None:
    """epoch_steps: the order is a function of (seed, epoch), and of nothing else"""

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(epoch_steps(LENGTHS, 8, seed, epoch)).tolist()

    first = order(1, 0)
    np.random.seed(5)
    order(9, 9)
    if order(1, 0) != first:
        raise Wrong(
            "Two calls with the same seed and epoch give two orders: use a generator of "
            "your own, np.random.default_rng([seed, epoch])."
        )
    if order(1, 1) == first:
        raise Wrong("Epoch 1 has the order of epoch 0: the epoch is not used.")
    if order(2, 0) == first:
        raise Wrong("Seed 2 gives the order of seed 1: the seed is not used.")
    if order(1, 1) == order(2, 0) or order(0, 1) == first:
        raise Wrong("(seed 1, epoch 1) has the order of (seed 2, epoch 0): do not add the two.")


def check_little_padding() -> None:
    """epoch_steps: texts of similar length go together"""
    steps = epoch_steps(LENGTHS, 8, seed=1, epoch=0)
    share = padding_share(LENGTHS, steps)
    if share > 0.05:
        random = np.random.default_rng(0).permutation(1003)
        shuffled = padding_share(LENGTHS, np.array_split(random, 125))
        raise Wrong(
            f"{share:.1%} of the computed tokens are padding; less than 5 % is asked for "
            f"(shuffled without sorting: {shuffled:.1%}). Sort inside windows of "
            "step_size x WINDOW_STEPS texts before you cut them into steps."
        )


def check_still_random() -> None:
    """epoch_steps: steps do not come in order of length, and meet other texts in each epoch"""
    steps = epoch_steps(LENGTHS, 8, seed=1, epoch=0)
    widths = [LENGTHS[rows].max() for rows in steps[:-1]]
    r = float(np.corrcoef(widths, np.arange(len(widths)))[0, 1])
    if abs(r) > 0.3:
        order = "short to long" if r > 0 else "long to short"
        raise Wrong(
            f"The steps run from {order} texts (correlation of width and place: {r:.2f}). "
            "The learning rate falls from step to step, so it would be tied to the length: "
            "shuffle the steps after cutting them."
        )
    lengths = np.random.default_rng(1).integers(3, 88, size=16_000)

    def pairs(epoch: int) -> set[tuple[int, int]]:
        steps = epoch_steps(lengths, 8, seed=1, epoch=epoch)
        return {(a, b) for rows in steps for a in rows.tolist() for b in rows.tolist() if a < b}

    first = pairs(0)
    again = len(first & pairs(1)) / len(first)
    if again > 0.05:
        raise Wrong(
            f"{again:.0%} of the pairs of texts in a step meet again in the next epoch. Sorted as "
            "a whole, the same texts always share a step: shuffle first, sort inside windows only."
        )


def check_sorted() -> None:
    """sorted_batches: in order of length, each batch within the budget, none cut too early"""
    actual = [b.tolist() for b in sorted_batches(np.array([9, 2, 3, 2]), token_budget=9)]
    equal(
        actual,
        [[1, 3, 2], [0]],
        "the batches of lengths 9, 2, 3, 2 with a budget of 9",
        {
            "when texts of one length do not keep their order (a stable sort does)": [
                [3, 1, 2],
                [0],
            ],
            "when the last batch is forgotten": [[1, 3, 2]],
            "when a batch must stay below the budget": [[1, 3], [2], [0]],
        },
    )
    actual = [b.tolist() for b in sorted_batches(np.array([900, 10, 20]), token_budget=100)]
    equal(actual, [[1, 2], [0]], "the batches of lengths 900, 10, 20 with a budget of 100")
    actual = [b.tolist() for b in sorted_batches(np.array([60, 60]), token_budget=50)]
    equal(actual, [[0], [1]], "the batches of lengths 60, 60 with a budget of 50")
    batches = sorted_batches(LENGTHS, token_budget=500)
    rows = np.concatenate(batches)
    equal(sorted(rows.tolist()), list(range(1003)), "the rows of all batches, sorted,")
    in_order = LENGTHS[rows]
    if (np.diff(in_order) < 0).any():
        raise Wrong("The batches are not in order of length.")
    for batch, following in zip(batches, [*batches[1:], None]):
        size, longest = len(batch), int(LENGTHS[batch].max())
        if size * longest > 500:
            raise Wrong(
                f"A batch of {size} texts, the longest of {longest} tokens, is {size * longest} "
                "tokens after padding: more than the budget of 500."
            )
        if following is not None and (size + 1) * LENGTHS[following[0]] <= 500:
            raise Wrong(
                f"A batch of {size} texts is followed by a text of {LENGTHS[following[0]]} tokens, "
                "which would have fitted: the batch ends too early."
            )
    equal(len(sorted_batches(np.array([], int), 10)), 0, "the number of batches of no texts")
