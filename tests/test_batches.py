"""Which texts share a batch: every text once, little padding, the same order for the same seed."""

import numpy as np
import pytest
import torch

from train.batches import Encoded, epoch_steps, padding_share, sorted_batches
from train.device import Processes
from train.training.step import Steps, micro_batches

LENGTHS = np.random.default_rng(0).integers(3, 88, size=1003)


@pytest.mark.parametrize("step_size", [1, 8, 32, 1003, 5000])
def test_an_epoch_has_every_text_exactly_once(step_size):
    steps = epoch_steps(LENGTHS, step_size, seed=1, epoch=0)
    assert len(steps) == -(-1003 // step_size)
    assert sorted(np.concatenate(steps)) == list(range(1003))
    assert all(len(rows) == step_size for rows in steps[:-1])


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(**changed: int) -> list[list[int]]:
        arguments = {"step_size": 8, "seed": 1, "epoch": 0} | changed
        return [rows.tolist() for rows in epoch_steps(LENGTHS, **arguments)]

    assert order() == order()
    assert order() != order(seed=2)
    assert order() != order(epoch=1)


def test_texts_meet_other_texts_in_the_next_epoch():
    lengths = np.random.default_rng(1).integers(3, 88, size=16_000)  # about 190 of each length

    def pairs(epoch: int) -> set[tuple[int, int]]:
        steps = epoch_steps(lengths, 8, seed=1, epoch=epoch)
        return {(a, b) for rows in steps for a in rows for b in rows if a < b}

    first, second = pairs(0), pairs(1)
    assert len(first & second) < 0.05 * len(first)


def test_steps_do_not_come_in_order_of_length():
    widths = [LENGTHS[rows].max() for rows in epoch_steps(LENGTHS, 8, seed=1, epoch=0)[:-1]]
    assert abs(np.corrcoef(widths, np.arange(len(widths)))[0, 1]) < 0.3


def test_sorting_inside_windows_leaves_little_padding():
    random = np.random.default_rng(0)
    shuffled = np.array_split(random.permutation(len(LENGTHS)), len(LENGTHS) // 8)
    ours = epoch_steps(LENGTHS, 8, seed=1, epoch=0)
    assert padding_share(LENGTHS, ours) < 0.05 < 0.3 < padding_share(LENGTHS, shuffled)


def test_sorted_batches_keep_the_budget_and_lose_nothing():
    batches = sorted_batches(LENGTHS, token_budget=500)
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert all(len(rows) * LENGTHS[rows].max() <= 500 for rows in batches)
    assert padding_share(LENGTHS, batches) < 0.02


def test_a_text_over_the_budget_is_a_batch_of_its_own():
    batches = sorted_batches(np.array([900, 10, 20]), token_budget=100)
    assert [rows.tolist() for rows in batches] == [[1, 2], [0]]


def test_batches_are_padded_to_their_longest_and_masked():
    data = Encoded([[5, 6, 7], [8], [9, 10]], labels=[2, 0, 1], pad_id=0)
    input_ids, mask, labels = data.batch(np.array([1, 2]))
    assert input_ids.tolist() == [[8, 0], [9, 10]]
    assert mask.tolist() == [[True, False], [True, True]]
    assert labels.tolist() == [0, 1]
    assert input_ids.dtype == labels.dtype == torch.int64


def test_texts_of_one_length_need_no_mask():
    data = Encoded([[5, 6], [8, 9], [1]])
    assert data.batch(np.array([0, 1]))[1] is None


def test_a_fixed_width_only_adds_padding():
    data = Encoded([[5, 6, 7], [8], [9, 10]], pad_id=4)
    input_ids, mask, _ = data.gather(torch.tensor([2, 0]), width=5)
    assert input_ids.tolist() == [[9, 10, 4, 4, 4], [5, 6, 7, 4, 4]]
    assert mask.sum(dim=1).tolist() == [2, 3]


@pytest.mark.parametrize(("batch_size", "grad_accum", "world"), [(8, 1, 1), (2, 4, 1), (2, 2, 2)])
@pytest.mark.parametrize("n_rows", [8, 7, 3, 1])
def test_a_step_is_the_same_texts_however_it_is_cut(batch_size, grad_accum, world, n_rows):
    """Each text weighs 1/N of the step's loss once gradients are averaged over the processes."""
    rows = np.arange(100, 100 + n_rows)
    weight = dict.fromkeys(rows.tolist(), 0.0)
    for rank in range(world):
        parts = micro_batches(rows, grad_accum, Processes(rank, world))
        assert all(len(part) <= batch_size for part, _ in parts)
        for part, share in parts:
            for row in part.tolist():
                weight[row] += share / len(part) / world
    np.testing.assert_allclose(list(weight.values()), 1 / n_rows)


def test_steps_go_on_through_the_epochs():
    steps = Steps(LENGTHS, step_size=100, seed=3)
    assert steps.per_epoch == 11
    expected = epoch_steps(LENGTHS, 100, seed=3, epoch=2)[4]
    np.testing.assert_array_equal(steps[2 * 11 + 4], expected)
