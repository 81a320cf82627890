"""The protocol's metrics from their definitions: one user at a time, a full stable sort, double precision."""

import numpy as np

from piavae_jax.data.csr import CSR, from_pairs
from piavae_jax.data.prepared import HeldOut


def ranked_list(scores, seen):
    scores = np.array(scores, np.float64)
    scores[seen] = -np.inf
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] > -np.inf]


def recall(ranked, targets, k):
    if len(targets) == 0:
        return np.nan
    return len(set(ranked[:k].tolist()) & set(np.asarray(targets).tolist())) / min(k, len(targets))


def ndcg(ranked, targets, k):
    if len(targets) == 0:
        return np.nan
    wanted = set(np.asarray(targets).tolist())
    gain = sum(1 / np.log2(rank + 1) for rank, item in enumerate(ranked[:k].tolist(), start=1) if item in wanted)
    return gain / sum(1 / np.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))


def user_values(score_table, held_out, label):
    """float64[V]."""
    name, k = label.split("@")
    metric = {"recall": recall, "ndcg": ndcg}[name]
    rows = range(len(held_out.users))
    lists = (ranked_list(score_table[row], held_out.input.row(row)) for row in rows)
    return np.array([metric(ranked, held_out.target.row(row), int(k)) for row, ranked in zip(rows, lists, strict=True)])


def random_held_out(rng, num_users, num_items, *, density=0.2, share=0.4):
    """Users 100, 101, ... with random histories, of which some have no target, some no input and some neither."""
    owned = rng.random((num_users, num_items)) < density * rng.uniform(0, 2, (num_users, 1))
    held = owned & (rng.random((num_users, num_items)) < share)
    users = np.arange(100, 100 + num_users, dtype=np.int32)
    return HeldOut(users, csr_of(owned & ~held), csr_of(held))


def csr_of(dense) -> CSR:
    rows, items = np.nonzero(np.asarray(dense))
    return from_pairs(rows, items, num_rows=len(dense))


def take_users(held_out, order):
    """The same users in another order."""

    def reorder(rows):
        items = [rows.row(index) for index in order]
        return from_pairs(
            np.repeat(np.arange(len(order)), [len(row) for row in items]), np.concatenate(items), num_rows=len(order)
        )

    return HeldOut(held_out.users[order], reorder(held_out.input), reorder(held_out.target))
