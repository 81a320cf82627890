"""Recommendations of a few users, against dense NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import scipy.sparse
from dense_oracle import fused_scores, log_softmax, multvae_mean, multvae_scores, ranked
from random_runs import write_run
from tiny_runs import NUM_ITEMS, tiny_config

from piavae_jax import UserError
from piavae_jax.data.csr import CSR
from piavae_jax.serving import Histories, Recommender, scorer
from piavae_jax.serving.scorer import Scorer

K = 10
USERS = ["anna", "bo", "carl"]
ITEMS = [["i3", "i7", "i20"], ["i0"], ["i39", "i1", "i2", "i30", "i5"]]
HISTORIES = dict(zip(USERS, ITEMS, strict=True))


def dense(lists=ITEMS):
    rows = np.zeros((len(lists), NUM_ITEMS))
    for row, items in zip(rows, lists, strict=True):
        row[[int(item[1:]) for item in items]] = 1
    return rows


def long_table(repeat=1):
    pairs = [(user, item) for user, items in HISTORIES.items() for item in items for _ in range(repeat)]
    return pl.DataFrame(pairs, schema=["user", "item"], orient="row").with_columns(weight=1.0)


def check_against(table, scores, allowed, *, users=USERS, k=K):
    assert table.columns == ["user_id", "item_id", "score", "rank", "source"]
    for row, user in enumerate(users):
        expected = ranked(scores[row], k, allowed[row])
        own = table.filter(pl.col("user_id") == user)
        assert own["item_id"].to_list() == [f"i{item}" for item in expected]
        assert own["rank"].to_list() == list(range(1, len(expected) + 1))
        np.testing.assert_allclose(own["score"], scores[row, expected], rtol=1e-4, atol=1e-4)
    assert table["user_id"].unique(maintain_order=True).to_list() == list(users)


def test_lists_are_those_of_dense_numpy(recommender):
    scores, unseen = multvae_scores(recommender.params, dense()), dense() == 0
    check_against(recommender.recommend(HISTORIES, K), scores, unseen)
    check_against(recommender.recommend(HISTORIES, K, exclude_seen=False), scores, np.ones_like(unseen))
    allow, deny = ["i3", "i4", "i9", "i30"], ["i4", "nothing we know"]
    allowed = np.isin(np.arange(NUM_ITEMS), [3, 4, 9, 30])[None, :] & unseen
    check_against(recommender.recommend(HISTORIES, K, allow=allow), scores, allowed)
    allowed[:, 4] = False
    check_against(recommender.recommend(HISTORIES, K, allow=allow, deny=deny), scores, allowed)


def test_a_fused_run_recommends_as_dense_numpy(fused):
    check_against(fused.recommend(HISTORIES, K), fused_scores(fused.params, dense()), dense() == 0)


def test_a_list_ends_where_the_catalogue_does(recommender):
    lengths = recommender.recommend(HISTORIES, NUM_ITEMS).group_by("user_id", maintain_order=True).len()["len"]
    assert lengths.to_list() == [NUM_ITEMS - len(items) for items in ITEMS]


def test_all_forms_of_histories_give_the_same_table(recommender):
    expected = recommender.recommend(HISTORIES, K)
    named = [long_table(), long_table().lazy(), long_table(repeat=2), recommender.read(HISTORIES)]
    named.append(long_table().to_arrow())
    named.append({user: np.array(items) for user, items in HISTORIES.items()})
    named.append(long_table().with_columns(pl.col("user", "item").cast(pl.Categorical)))
    for histories in named:
        assert recommender.recommend(histories, K).equals(expected)
    rows = recommender.read(HISTORIES).rows
    repeated = CSR(np.array([0, 4, 5, 10]), np.insert(rows.indices, 0, rows.indices[0]))
    numbered = expected.with_columns(pl.col("user_id").replace_strict(USERS, [0, 1, 2], return_dtype=pl.Int64))
    for histories in (rows, repeated, scipy.sparse.csr_matrix(dense()), scipy.sparse.coo_array(dense())):
        assert recommender.recommend(histories, K).equals(numbered)


def test_pandas_tables_are_read(recommender):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(long_table().to_dict(as_series=False), index=np.arange(len(long_table()))[::-1])
    assert recommender.recommend(table, K).equals(recommender.recommend(HISTORIES, K))


def test_a_table_in_any_order_gives_each_user_the_same(recommender):
    shuffled = long_table().sample(fraction=1.0, shuffle=True, seed=0)
    found = recommender.recommend(shuffled, K).sort("user_id", "rank")
    assert found.equals(recommender.recommend(HISTORIES, K).sort("user_id", "rank"))


def test_many_users_are_ranked_as_each_alone(recommender, monkeypatch):
    monkeypatch.setattr(scorer, "BATCH_SIZES", (2, 4))
    rng = np.random.default_rng(0)
    lists = [[f"i{item}" for item in rng.choice(NUM_ITEMS, rng.integers(1, 9), replace=False)] for _ in range(9)]
    found = recommender.recommend(dict(enumerate(lists)), K)
    check_against(found, multvae_scores(recommender.params, dense(lists)), dense(lists) == 0, users=range(9))


def test_batches_have_few_shapes():
    rng = np.random.default_rng(0)
    shapes = set()
    for users in range(1, 700, 23):
        lengths = rng.integers(0, 60, users)
        rows = CSR(np.concatenate([[0], np.cumsum(lengths)]), np.zeros(lengths.sum(), np.int32))
        cut = list(scorer.batches(rows, 100))
        assert [batch.users.stop - batch.users.start for batch in cut] == [
            min(512, users - start) for start in range(0, users, 512)
        ]
        shapes |= {(len(batch.packed.lengths), len(batch.packed.items)) for batch in cut}
        assert all(batch.packed.lengths.sum() <= len(batch.packed.items) for batch in cut)
    assert len(shapes) <= 10
    ((_, packed),) = scorer.batches(CSR(np.array([0, 1]), np.zeros(1, np.int32)), 10**6)
    assert len(packed.lengths) == 8  # a million items: few users at a time
    assert not list(scorer.batches(CSR(np.array([0]), np.zeros(0, np.int32)), 100))


def test_the_device_ranks_as_the_host_does(recommender, fused):
    histories = HISTORIES | {"empty": []}
    for each in (recommender, fused):
        expected = each.recommend(histories, K, deny=["i8"])
        there = Recommender(each.run, each.scorer, each.params)
        there.scorer = Scorer(each.scorer.score, each.params, num_items=NUM_ITEMS, on_host=False)
        assert there.recommend(histories, K, deny=["i8"]).equals(expected)


def test_unknown_items_are_dropped_and_counted(recommender):
    known = recommender.read({"anna": ["new", "i3", "i7", "newer", "i20", "new"], "bo": ["i0"]})
    assert known.unknown.tolist() == [3, 0]
    both = recommender.recommend({user: HISTORIES[user] for user in ("anna", "bo")}, K)
    assert recommender.recommend(known, K).equals(both)


def test_users_without_a_known_item_get_the_popular_ones(recommender, dataset):
    table = recommender.recommend({"empty": [], "anna": ITEMS[0], "stranger": ["new"]}, 5, deny=["i0"])
    counts = np.bincount(dataset.train.indices, minlength=NUM_ITEMS)
    expected = ranked(counts.astype(float), 5, np.arange(NUM_ITEMS) != 0)
    for user in ("empty", "stranger"):
        own = table.filter(pl.col("user_id") == user)
        assert own["item_id"].to_list() == [f"i{item}" for item in expected]
        assert own["score"].to_list() == counts[expected].tolist()
        assert own["source"].to_list() == ["popular"] * 5
    own = table.filter(pl.col("user_id") == "anna")
    assert own["source"].to_list() == ["model"] * 5
    assert own.equals(recommender.recommend({"anna": ITEMS[0]}, 5, deny=["i0"]))


def test_nobody_gets_an_empty_table(recommender):
    expected = recommender.recommend({0: ["i1"]}, K)
    for nobody in ({}, pl.DataFrame(schema={"user": pl.Int64, "item": pl.String}), scipy.sparse.csr_array((0, 40))):
        table = recommender.recommend(nobody, K)
        assert table.is_empty()
        assert table.schema == expected.schema


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([["i1"]], "must be a dict of lists, a table with the columns"),
        ({"anna": "i1"}, r"items of user 'anna' must be a list of ids, got 'i1'"),
        ({"anna": 3}, r"items of user 'anna' must be a list of ids, got 3"),
        ({"anna": [1, 2]}, "item ids must be String as the model's are, got Int64"),
        ({"anna": ["i1", 2]}, "must hold ids of one type"),
        ({"anna": ["i1", None]}, "item ids must not be null, got 1"),
        ({None: ["i1"]}, "user ids must not be null|users must hold ids|user ids must be"),
        ({1.5: ["i1"]}, "user ids must be integers or strings, got Float64"),
        ({1: ["i1"], "b": ["i1"]}, "users must hold ids of one type"),
        (pl.DataFrame({"user_id": [1], "item": ["i1"]}), "must have the columns user and item, got user_id, item"),
        (pl.DataFrame({"user": [1, None], "item": ["i1", "i2"]}), r"user ids must not be null, got 1 \(first: row 1\)"),
        (pl.DataFrame({"user": [1.5], "item": ["i1"]}), "user ids must be integers or strings, got Float64"),
        (pl.DataFrame({"user": [2**64 - 1], "item": ["i1"]}, schema_overrides={"user": pl.UInt64}), "below 2.63"),
        (scipy.sparse.csr_array((2, 7)), "must have a column for each of the model's 40 items, got 7"),
        (CSR(np.array([0, 1]), np.array([40])), "must be in 0 to 39, got 40"),
        (CSR(np.array([0, 1]), np.array([-1])), "must be in 0 to 39, got -1"),
    ],
)
def test_malformed_histories_are_refused(recommender, histories, message):
    with pytest.raises(UserError, match=message):
        recommender.recommend(histories, K)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be a whole number from 1 to 40, for the model's items, got 0"),
        ({"k": 41}, "got 41"),
        ({"k": 2.5}, "got 2.5"),
        ({"k": True}, "got True"),
        ({"allow": ["i1", "new"]}, "allow must hold items that the model was trained on, got 'new'"),
        ({"allow": []}, "must leave an item to recommend"),
        ({"allow": ["i1"], "deny": ["i1"]}, "must leave an item to recommend"),
        ({"deny": [1]}, "item ids must be String"),
        ({"allow": "i1"}, "allow must be a list of ids"),
    ],
)
def test_bad_arguments_are_refused(recommender, arguments, message):
    with pytest.raises(UserError, match=message):
        recommender.recommend(HISTORIES, **{"k": K} | arguments)


@pytest.mark.parametrize("on_host", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_model_is_refused(recommender, value, on_host):
    def diverged(params, batch):
        return jnp.zeros((len(batch.lengths), NUM_ITEMS)).at[0, 3].set(params)

    broken = Recommender(recommender.run, Scorer(diverged, value, num_items=NUM_ITEMS, on_host=on_host), value)
    with pytest.raises(UserError, match="scores must be finite"):
        broken.recommend(HISTORIES, K)


def test_similar_items_by_decoder_and_by_anchors(recommender, fused):
    vectors = np.asarray(recommender.params["decoder"]["Linear_1"]["kernel"]).T
    cosine = vectors @ vectors[7] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[7])
    anchors = np.asarray(recommender.params["anchors"])
    near = -np.linalg.norm(anchors - anchors[7], axis=1)
    for by, similarity in {"decoder": cosine, "anchors": near}.items():
        expected = ranked(similarity, 5, np.arange(NUM_ITEMS) != 7)
        found = recommender.similar_items("i7", 5, by=by)
        assert found["item_id"].to_list() == [f"i{item}" for item in expected]
        assert found["title"].to_list() == [f"Title {item}" for item in expected]
        assert found["rank"].to_list() == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(found["score"], similarity[expected], atol=1e-5)
    assert recommender.similar_items("i7", NUM_ITEMS - 1).height == NUM_ITEMS - 1
    cosines = []
    for member in fused.params.members:
        vectors = np.asarray(member["decoder"]["Linear_1"]["kernel"]).T
        cosines.append(vectors @ vectors[7] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[7]))
    expected = ranked(np.mean(cosines, axis=0), 5, np.arange(NUM_ITEMS) != 7)
    assert fused.similar_items("i7", 5)["item_id"].to_list() == [f"i{item}" for item in expected]


def test_similar_items_refuses_what_it_cannot_do(recommender, fused):
    with pytest.raises(UserError, match="has no anchors: pass by="):
        fused.similar_items("i7", 5, by="anchors")
    with pytest.raises(UserError, match="by must be one of decoder, anchors, got 'taste'"):
        recommender.similar_items("i7", 5, by="taste")
    with pytest.raises(UserError, match="k must be a whole number from 1 to 39"):
        recommender.similar_items("i7", NUM_ITEMS)
    with pytest.raises(UserError, match="item must hold items that the model was trained on, got 'new'"):
        recommender.similar_items("new", 5)


def test_explanations_are_what_leaving_an_item_out_changes(recommender, fused):
    history, item = ITEMS[2], 8
    left_out = [[other for other in history if other != name] for name in history]
    for each, score in ((recommender, multvae_scores), (fused, fused_scores)):
        logs = log_softmax(score(each.params, dense([*left_out, history])))[:, item]
        effects = dict(zip(history, logs[-1] - logs[:-1], strict=True))
        found = each.explain([*history, "i8", "new"], "i8")
        assert found["item_id"].to_list() == sorted(history, key=effects.get, reverse=True)
        np.testing.assert_allclose(found["effect"], sorted(effects.values(), reverse=True), atol=1e-5)
    anchors = np.asarray(recommender.params["anchors"])
    found = recommender.explain(history, "i8")
    distances = [np.linalg.norm(anchors[int(name[1:])] - anchors[8]) for name in found["item_id"]]
    np.testing.assert_allclose(found["anchor_distance"], distances, rtol=1e-5)
    assert fused.explain(history, "i8")["anchor_distance"].null_count() == len(history)
    for nothing in ([], ["new"], ["i8"]):
        with pytest.raises(UserError, match="history must hold an item, other than 'i8'"):
            recommender.explain(nothing, "i8")


def test_embeddings_are_posterior_means(recommender, fused):
    found = recommender.embed_users({**HISTORIES, "empty": []})
    assert found["user_id"].to_list() == [*USERS, "empty"]
    expected = multvae_mean(recommender.params, dense([*ITEMS, []]))
    np.testing.assert_allclose(found["embedding"].to_numpy(), expected, atol=1e-5)
    with pytest.raises(UserError, match="users of an ensemble of 2 have no one embedding"):
        fused.embed_users(HISTORIES)


@pytest.mark.parametrize("name", ["hvamp", "cdae", "recvae"])
def test_every_model_has_vectors(name, dataset, tmp_path):
    config = tiny_config()
    config.model.name, config.pia.enabled = name, False
    config.model.hidden = (16, 16) if name == "hvamp" else (16,)
    config.prior.pseudo_inputs = 5
    each = Recommender.from_run(write_run(tmp_path / name, config, dataset))
    scores = np.asarray(each.scorer.score(each.params, jnp.asarray(dense(), jnp.float32)))
    check_against(each.recommend(HISTORIES, K), scores, dense() == 0)
    assert each.similar_items("i7", 5).height == 5
    embedding = each.embed_users(HISTORIES)["embedding"].to_numpy()
    assert embedding.shape == (3, each.models[0].latent_dim)
    assert np.isfinite(embedding).all()
    assert np.ptp(embedding, axis=0).max() > 1e-3


def test_histories_are_read_once(recommender):
    known = recommender.read(HISTORIES)
    assert isinstance(known, Histories)
    assert recommender.read(known) is known


def test_a_run_folder_is_all_it_takes(pia_run, recommender, tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        Recommender.from_run(tmp_path)
    again = Recommender.from_run(str(pia_run))
    jax.tree.map(np.testing.assert_array_equal, again.params, recommender.params)
