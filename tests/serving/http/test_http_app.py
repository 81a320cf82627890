"""The app in process: answers as `Recommender` gives them, refusals with a sentence, reloads without a lost request."""

import asyncio
import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from random_runs import write_run
from tiny_runs import tiny_config

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.testclient import TestClient

from piavae_jax.errors import UserError
from piavae_jax.serving import scorer
from piavae_jax.serving.http import Engine, Limits, make_app

LIMITS = Limits(users=8, history=12, explained_history=6, list_items=20, k=30, body_bytes=20_000)


@pytest.fixture(scope="module")
def client(recommender):
    app = make_app(lambda: Engine(recommender, LIMITS), LIMITS)
    with TestClient(app) as session:
        yield session


def test_lists_are_the_recommenders(client, recommender):
    histories = [["i1", "i2", "i2", "nowhere"], ["i7"], []]
    options = {"exclude_seen": False, "deny": ["i3"]}
    answer = client.post("/recommend", json={"histories": histories, "k": 5, **options}).json()["recommendations"]
    expected = recommender.recommend(dict(enumerate(histories)), 5, **options)
    for user, found in enumerate(answer):
        rows = expected.filter(expected["user_id"] == user)
        assert [item["item_id"] for item in found["items"]] == rows["item_id"].to_list()
        assert [item["score"] for item in found["items"]] == pytest.approx(rows["score"].to_list(), rel=1e-5)
        assert found["source"] == rows["source"][0]
    assert [found["unknown"] for found in answer] == [1, 0, 0]


def test_requests_that_share_a_batch_keep_their_own_restrictions(client, recommender):
    def ask(number):
        body = {"histories": [[f"i{number}"]], "k": 3, "allow": [f"i{n}" for n in range(number + 1, number + 5)]}
        return client.post("/recommend", json=body).json()["recommendations"][0]["items"]

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(12)))
    for number, items in enumerate(answers):
        allowed = [f"i{n}" for n in range(number + 1, number + 5)]
        expected = recommender.recommend({0: [f"i{number}"]}, 3, allow=allowed)
        assert [item["item_id"] for item in items] == expected["item_id"].to_list()


def test_similar_and_explain_are_the_recommenders(client, recommender):
    similar = client.get("/similar/i4", params={"k": 6, "by": "anchors"}).json()["items"]
    assert [item["item_id"] for item in similar] == recommender.similar_items("i4", 6, by="anchors")[
        "item_id"
    ].to_list()
    why = client.post("/explain", json={"history": ["i1", "i2", "i5"], "item": "i4"}).json()["history"]
    expected = recommender.explain(["i1", "i2", "i5"], "i4")
    assert [item["item_id"] for item in why] == expected["item_id"].to_list()
    assert [item["effect"] for item in why] == pytest.approx(expected["effect"].to_list(), abs=1e-5)


def test_search_ignores_case_and_finds_ids(client):
    assert client.get("/items", params={"q": "TITLE 17"}).json()["items"][0]["item_id"] == "i17"
    assert client.get("/items", params={"q": "i23"}).json()["items"][0]["title"] == "Title 23"
    assert client.get("/items", params={"q": "no such"}).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[" * 9_000, 400),
        ("9" * 30_000, 413),
        ('{"histories": [[1]]}', 422),
        ('{"histories": [["\\ud800"]], "k": 1}', (200, 422)),
        ('{"histories": [[]], "k": 0}', 422),
        ('{"histories": [[]], "k": NaN}', 422),
        ('{"histories": [[]], "k": 31}', 422),
        ('{"histories": [[]], "extra": 1}', 422),
        ('{"histories": [], "k": 1}', 422),
        ('{"histories": [[],[],[],[],[],[],[],[],[]]}', 422),
        ('{"histories": [["i1","i1","i1","i1","i1","i1","i1","i1","i1","i1","i1","i1","i1"]]}', 422),
        ('{"histories": [[]], "allow": ["nowhere"]}', 422),
        ('{"histories": [[]], "allow": ["i1"], "deny": ["i1"]}', 422),
    ],
)
def test_junk_is_refused_with_a_sentence(client, body, status):
    answer = client.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (status if isinstance(status, tuple) else (status,))
    if answer.status_code != 200:
        assert len(answer.json()["error"]) > 10
    assert client.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("sends", [True, False], ids=["a byte at a time", "nothing"])
def test_a_slow_body_is_refused(recommender, sends):
    async def receive():
        await asyncio.sleep(0.01 if sends else 60)
        return {"type": "http.request", "body": b" ", "more_body": True}

    answer = []

    async def send(message):
        answer.append(message)

    limits = Limits(body_seconds=0.1)
    app = make_app(lambda: Engine(recommender, limits), limits)
    scope = {"type": "http", "method": "POST", "path": "/recommend", "headers": [], "query_string": b""}
    started = time.monotonic()
    asyncio.run(app(scope, receive, send))
    assert 0.1 <= time.monotonic() - started < 10
    start, body = answer
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert "0.1 seconds" in json.loads(body["body"])["error"]


def test_the_schema_states_the_limits(client):
    body = client.get("/openapi.json").json()["components"]["schemas"]["RecommendRequest"]["properties"]
    assert body["histories"]["maxItems"] == LIMITS.users
    assert body["histories"]["items"]["maxItems"] == LIMITS.history
    assert body["k"]["maximum"] == LIMITS.k
    assert body["allow"]["anyOf"][0]["minItems"] == 1


def test_unknown_items_and_paths_are_404(client):
    assert client.get("/similar/nowhere").status_code == client.get("/nowhere").status_code == 404
    assert client.post("/explain", json={"history": ["i1"], "item": "nowhere"}).status_code == 422


def test_pages_ask_nobody_else(client):
    for path in ("/", "/docs", "/static/app.js", "/static/docs.js", "/static/style.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text
        assert "https://" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert client.get("/static/../app.py").status_code == client.get("/static/%2e%2e/app.py").status_code == 404


def test_metrics_count_by_route_and_not_by_path(client):
    client.get("/nowhere/at/all")
    client.get("/similar/i4")
    text = client.get("/metrics").text
    assert "/nowhere/at/all" not in text
    assert 'piavae_requests_total{method="GET",route="/similar/{item}",status="200"}' in text


def test_a_reload_under_load_loses_nothing_and_a_failed_one_keeps_the_run(recommender, fused):
    served = iter([recommender, fused])

    def load():
        found = next(served, None)
        if found is None:
            raise UserError("the run is gone")
        return Engine(found, LIMITS)

    app = make_app(load, LIMITS)
    with TestClient(app) as client, ThreadPoolExecutor(4) as threads:
        ask = lambda _: client.post("/recommend", json={"histories": [["i1"]]})  # noqa: E731
        answers = [threads.submit(ask, n) for n in range(40)]
        assert client.portal.call(app.state.server.reload) is True
        answers += [threads.submit(ask, n) for n in range(10)]
        assert {answer.result().status_code for answer in answers} == {200}
        assert app.state.server.batcher.engine.recommender is fused
        assert client.portal.call(app.state.server.reload) is False
        assert client.get("/health").json()["last_reload_error"] == "the run is gone"
        assert ask(0).status_code == 200


def test_a_reload_that_fails_in_an_unexpected_way_is_told_too(recommender):
    engines = iter([Engine(recommender, LIMITS)])

    def load():
        for engine in engines:
            return engine
        raise RuntimeError("the device has no room")

    app = make_app(load, LIMITS)
    with TestClient(app) as client:
        assert client.portal.call(app.state.server.reload) is False
        assert client.get("/health").json()["last_reload_error"] == "RuntimeError: the device has no room"
        assert 'piavae_reloads_total{outcome="failed"} 1.0' in client.get("/metrics").text
        assert client.post("/recommend", json={"histories": [["i1"]]}).status_code == 200


def test_an_id_may_have_a_slash(dataset, tmp_path):
    items = dataset.items.with_columns(item_id=pl.concat_str(pl.lit("a/"), "item_id"))
    run = write_run(tmp_path / "run", tiny_config(), dataclasses.replace(dataset, items=items))
    with TestClient(make_app(lambda: Engine.load(run, LIMITS), LIMITS)) as client:
        assert client.get("/similar/a%2Fi4").json()["item"]["item_id"] == "a/i4"


def test_explaining_compiles_nothing(recommender):
    engine = Engine(recommender, dataclasses.replace(LIMITS, explained_history=39))
    engine.warm_up()
    compiled = scorer._log_probability._cache_size()
    for count in range(1, 39):
        engine.explain([f"i{number}" for number in range(count)], "i39")
    assert scorer._log_probability._cache_size() == compiled
