import os

import jax
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import serve


@pytest.mark.skipif((os.cpu_count() or 1) < 4, reason="a server and its load want cores of their own")
def test_no_request_fails_under_load_and_in_a_reload(run):
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam promotes
        result = run(serve.main, "--items", "200", "--connections", "1", "4", "--seconds", "0.5")
    for figures in (*result["connections"].values(), result["reload"]):
        assert figures["errors"] == figures["lost"] == 0
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
        assert figures["requests_per_s"] > 0
