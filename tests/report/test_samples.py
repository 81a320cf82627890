import dataclasses

import numpy as np
import polars as pl

from piavae_jax.data.csr import from_pairs
from piavae_jax.data.prepared import HeldOut
from piavae_jax.evaluation import NO_ITEM, UserMetrics
from piavae_jax.report.samples import sample_users


def test_users_are_taken_at_quantiles_and_hits_are_marked():
    users, items = 21, 30
    generator = np.random.default_rng(0)
    pairs = [(user, item) for user in range(users) for item in generator.permutation(items)[:8]]
    rows, columns = np.array(pairs).T
    shown = np.tile(np.arange(8) < 5, users)
    held_out = HeldOut(
        np.arange(users, dtype=np.int32),
        from_pairs(rows[shown], columns[shown], num_rows=users),
        from_pairs(rows[~shown], columns[~shown], num_rows=users),
    )
    quality = np.append(generator.permutation(20) / 20, np.nan)  # the last user has no value
    results = UserMetrics(
        pl.Series([f"u{n}" for n in range(users)]), np.full(users, 5), np.full(users, 3), {"ndcg@100": quality}
    )
    unseen = [np.setdiff1d(np.arange(items), columns[rows == user])[:3] for user in range(users)]
    lists = np.array([[*held_out.target.row(user)[:1], *unseen[user]] for user in range(users)])
    lists[:, 3] = NO_ITEM
    train_users = generator.integers(1, 99, items)
    sampled = sample_users(results, held_out, lists, train_users, num_items=4)
    assert [user.quality for user in sampled] == [0.1, 0.3, 0.5, 0.65, 0.85]
    assert [user.quantile for user in sampled] == [0.1, 0.3, 0.5, 0.65, 0.85]
    alike = dataclasses.replace(results, values={"ndcg@100": np.where(quality < 0.7, 0.0, quality)})
    sampled_alike = sample_users(alike, held_out, lists, train_users, num_items=4)
    assert [user.quantile for user in sampled_alike] == [0, 0, 0, 0, 0.85]  # nobody is better than an equal
    for user in sampled:
        row = int(user.user[1:])
        assert [entry.is_hit for entry in user.recommended] == [True, False, False]
        assert [entry.item for entry in user.recommended] == lists[row][:3].tolist()
        assert len(user.shown) == 4
        assert set(user.shown) <= set(held_out.input.row(row))
        assert set(user.missed) == set(held_out.target.row(row)[1:])
        assert user.num_missed == 2
        for some in (user.shown, user.missed):
            assert (np.diff(train_users[some]) <= 0).all()
