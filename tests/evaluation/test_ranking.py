import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ranking_oracle import ranked_list

from piavae_jax.evaluation import NO_ITEM, exclude_seen, find_hits, top_k
from piavae_jax.types import SparseBatch


def batch_of(*rows, slots=None):
    """The rows as a batch with three padding slots, or `slots` in all."""
    lengths = np.array([len(row) for row in rows], np.int32)
    slots = lengths.sum() + 3 if slots is None else slots
    items, owners = np.zeros(slots, np.int32), np.full(slots, len(rows), np.int32)
    items[: lengths.sum()] = np.concatenate([np.asarray(row, np.int32) for row in rows])
    owners[: lengths.sum()] = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
    columns = (items, owners, lengths, np.arange(len(rows), dtype=np.int32), np.ones(len(rows), bool))
    return SparseBatch(*map(jnp.asarray, columns))


def test_exclude_seen_touches_seen_items_only():
    scores = jnp.arange(8, dtype=jnp.float32).reshape(2, 4)
    result = exclude_seen(scores, batch_of([1, 3], []))
    np.testing.assert_array_equal(result, [[0, -np.inf, 2, -np.inf], [4, 5, 6, 7]])


def test_padding_excludes_nothing():
    # Padding slots hold item 0 and row B: neither the last row nor item 0 may lose its score.
    scores = jnp.ones((3, 2))
    np.testing.assert_array_equal(exclude_seen(scores, batch_of([], [], [], slots=9)), scores)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_seen_item_does_not_hide_that_its_score_is_no_number(bad):
    result = exclude_seen(jnp.asarray([[1.0, bad, -np.inf]]), batch_of([1, 2]))
    np.testing.assert_array_equal(result, [[1.0, np.nan, -np.inf]])


def test_exclude_seen_checks_shapes():
    with pytest.raises(AssertionError):
        exclude_seen(jnp.ones((3, 2)), batch_of([0], [1]))


def test_top_k_breaks_ties_by_item():
    ranked = top_k(jnp.asarray([[1.0, 3.0, 1.0, 3.0, 1.0]]), 4)
    np.testing.assert_array_equal(ranked.items, [[1, 3, 0, 2]])
    np.testing.assert_array_equal(ranked.scores, [[3, 3, 1, 1]])


def test_top_k_is_no_longer_than_the_catalogue():
    assert top_k(jnp.ones((2, 3)), 100).items.shape == (2, 3)


def test_top_k_never_lists_an_excluded_item():
    ranked = top_k(jnp.asarray([[-jnp.inf, 2.0, -jnp.inf]]), 3)
    np.testing.assert_array_equal(ranked.items, [[1, NO_ITEM, NO_ITEM]])


@pytest.mark.parametrize("seed", range(5))
def test_ranking_agrees_with_a_full_sort(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (7, 40)).astype(np.float32)  # many ties
    seen = [np.flatnonzero(rng.random(40) < 0.4) for _ in range(7)]
    ranked = top_k(exclude_seen(jnp.asarray(scores), batch_of(*seen)), 40).items
    for row, expected in enumerate(ranked_list(scores[row], seen[row]) for row in range(7)):
        np.testing.assert_array_equal(ranked[row, : len(expected)], expected)
        assert (np.asarray(ranked[row, len(expected) :]) == NO_ITEM).all()


SCORES = {
    "distinct": lambda rng, shape: rng.normal(size=shape),
    "tied": lambda rng, shape: rng.integers(-3, 4, shape),
    "equal": lambda rng, shape: np.ones(shape),
    "mostly excluded": lambda rng, shape: np.where(rng.random(shape) < 0.99, -np.inf, rng.normal(size=shape)),
    "ascending": lambda rng, shape: np.broadcast_to(np.arange(shape[1]), shape),
}


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize(("num_items", "k"), [(16, 1), (1_000, 1), (997, 7), (1_003, 62), (640, 40)])
def test_long_rows_are_ranked_as_by_a_full_sort(kind, num_items, k):
    scores = SCORES[kind](np.random.default_rng(k), (6, num_items)).astype(np.float32)
    ranked = jax.jit(top_k, static_argnums=1)(scores, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(ranked.scores, best)
    np.testing.assert_array_equal(ranked.items, np.where(best > -np.inf, order, NO_ITEM))


def test_long_rows_are_ranked_where_integers_are_64_bits_wide():
    scores = np.random.default_rng(0).normal(size=(6, 1_000)).astype(np.float32)
    with jax.enable_x64(True):
        ranked = top_k(jnp.asarray(scores), 7)
    np.testing.assert_array_equal(ranked.items, np.argsort(-scores, axis=1)[:, :7])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_other_types_are_ranked_too(dtype):
    scores = jnp.asarray(np.random.default_rng(0).integers(0, 50, (3, 400)), dtype)
    order = np.argsort(-np.asarray(scores, np.float32), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(top_k(scores, 5).items, order)


def test_the_best_of_long_rows_can_be_found_on_a_gpu():
    lowered = jax.jit(top_k, static_argnums=1).trace(jnp.zeros((8, 5_000)), 20).lower(lowering_platforms=("cuda",))
    assert "top_k" in lowered.as_text()


def test_find_hits_by_hand():
    ranked = jnp.asarray([[4, 0, 2], [0, 1, 2], [3, 1, NO_ITEM]], jnp.int32)
    hits = find_hits(ranked, batch_of([2, 4, 5], [], [0]))
    np.testing.assert_array_equal(hits, [[True, False, True], [False] * 3, [False] * 3])


def test_padding_hits_nothing():
    # Padding slots hold item 0: the last row lists it and must not score.
    hits = find_hits(jnp.asarray([[1, 0]], jnp.int32), batch_of([1], slots=6))
    np.testing.assert_array_equal(hits, [[True, False]])


def test_jit_changes_nothing():
    rng = np.random.default_rng(0)
    scores, shown = jnp.asarray(rng.normal(size=(3, 12)), jnp.float32), batch_of([1, 2], [], [0, 11])
    targets = batch_of([0, 5], [3], [2, 4, 6])

    def hits(scores, shown, targets):
        return find_hits(top_k(exclude_seen(scores, shown), 5).items, targets)

    np.testing.assert_array_equal(hits(scores, shown, targets), jax.jit(hits)(scores, shown, targets))
