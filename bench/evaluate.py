"""How fast held-out users are evaluated, beside NumPy in the manner of Liang et al. and beside the forward pass alone.

    python bench/evaluate.py --shape ml-20m         # also netflix, msd, ml-1m, tiny; --users 2000; --batch-size 500

Ours is the `Evaluator` on a Multi-VAE with random weights, whose output bias is the items' popularity so that there are
hits: seen items excluded, all others ranked to top-100, nDCG@100, Recall@20 and Recall@50. The reference
(`numpy_evaluation.py`) does the same on dense rows. "Ranking" gives both the same scores and leaves the forward pass
out; on these, every user's values must agree to 1e-6. The floor is the matrix products of the forward pass, and
nothing else. All take turns in one process; ratios are medians over rounds. An `OPENBLAS_CORETYPE` in the environment
may slow the reference down: unset it.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import harness
import jax
import jax.numpy as jnp
import numpy as np
import numpy_evaluation as reference

from piavae_jax.data.csr import CSR, item_counts
from piavae_jax.data.prepared import HeldOut, PreparedDataset, load_prepared
from piavae_jax.evaluation import Evaluator
from piavae_jax.linear import product
from piavae_jax.models.multvae import multvae
from piavae_jax.models.scoring import make_score_fn
from piavae_jax.types import SparseBatch

TOLERANCE = 1e-6
RANKED_USERS = 2_000
"""Users whose scores are kept for "ranking": 160 MB at 20,000 items."""


def first_users(part: HeldOut, count: int | None) -> HeldOut:
    """The first users of a split, or all."""
    count = len(part.users) if count is None else min(count, len(part.users))
    return HeldOut(part.users[:count], _first_rows(part.input, count), _first_rows(part.target, count))


def _first_rows(rows: CSR, count: int) -> CSR:
    indptr = np.asarray(rows.indptr[: count + 1])
    return CSR(indptr, np.asarray(rows.indices[: indptr[-1]]))


def random_params(dataset: PreparedDataset) -> dict:
    """Multi-VAE as it starts, but for the popularity in its output bias."""
    params = jax.jit(multvae(dataset.num_items).init)(jax.random.key(0))
    params["decoder"]["Linear_1"]["bias"] += jnp.log1p(jnp.asarray(item_counts(dataset.train, dataset.num_items)))
    return params


def look_up(params: dict, batch: SparseBatch) -> jax.Array:
    """Scores computed before."""
    return params["scores"][batch.users]


def make_floor(num_users: int, num_items: int, *, batch_size: int) -> Callable[[], jax.Array]:
    """The dense products of the forward pass, in a loop on the device."""
    draw = jax.random.split(jax.random.key(1), 4)
    shapes = ((600, 400), (200, 600), (600, num_items), (batch_size, 600))
    *weights, features = (0.01 * jax.random.normal(key, shape) for key, shape in zip(draw, shapes, strict=True))

    @jax.jit
    def forward(weights: list[jax.Array], features: jax.Array) -> jax.Array:
        to_latent, to_hidden, to_items = weights

        def step(features: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            features = product(product(features, to_latent)[:, :200], to_hidden)
            scores = jax.lax.optimization_barrier(product(features, to_items))  # written, not folded into what follows
            return features, scores[:, 0]

        return jax.lax.scan(step, features, None, length=-(-num_users // batch_size))[1]

    return lambda: jax.block_until_ready(forward(weights, features))


def check_agreement(ours: Mapping[str, np.ndarray], numpy: Mapping[str, np.ndarray]) -> float:
    """The largest difference between two users' values of a metric.

    Raises:
      AssertionError: if it is more than the tolerance, or only one of the two has a value.
    """
    for label, values in numpy.items():
        np.testing.assert_allclose(ours[label], values, rtol=0, atol=TOLERANCE, err_msg=label)
    return max(float(np.nanmax(np.abs(ours[label] - values))) for label, values in numpy.items())


def benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the figures."""
    size = arguments.batch_size
    dataset = load_prepared(harness.synthetic_dataset(arguments.shape))
    num_items = dataset.num_items
    params, score = random_params(dataset), make_score_fn(multvae(num_items))
    users = first_users(dataset.test, arguments.users)
    evaluator = Evaluator(users, num_items=num_items, batch_size=size)
    means = {label: summary.mean for label, summary in evaluator.evaluate(score, params).summaries().items()}
    peak_rss_mb = harness.peak_rss_mb()

    shown, held_out = (reference.to_matrix(rows, num_items) for rows in (users.input, users.target))
    numpy_params = jax.tree.map(np.asarray, params)
    ranked = first_users(users, RANKED_USERS)
    ranker = Evaluator(ranked, num_items=num_items, batch_size=size)
    ranked_shown, ranked_held_out = shown[: len(ranked.users)].toarray(), held_out[: len(ranked.users)]
    scores = reference.multvae(numpy_params, ranked_shown)
    table = {"scores": jnp.array(scores)}  # a copy: the reference overwrites the scores of seen items
    systems: dict[str, Callable[[], Any]] = {
        "ours": lambda: evaluator.evaluate(score, params),
        "numpy": lambda: reference.evaluate(numpy_params, shown, held_out, batch_size=size),
        "floor": make_floor(len(users.users), num_items, batch_size=size),
        "ranking": lambda: ranker.evaluate(look_up, table).values,
        "numpy_ranking": lambda: reference.rank_all(scores, ranked_shown, ranked_held_out, batch_size=size),
    }
    difference = check_agreement(systems["ranking"](), systems["numpy_ranking"]())
    seconds = harness.interleave(systems, rounds=arguments.rounds)
    rate = {name: len(users.users) / float(np.median(values)) for name, values in seconds.items()}
    rate |= {name: len(ranked.users) / float(np.median(seconds[name])) for name in ("ranking", "numpy_ranking")}
    return {
        "users_per_s": rate["ours"],
        "numpy_users_per_s": rate["numpy"],
        "ratio": harness.ratio(seconds["numpy"], seconds["ours"]),
        "ranking_users_per_s": rate["ranking"],
        "numpy_ranking_users_per_s": rate["numpy_ranking"],
        "ranking_ratio": harness.ratio(seconds["numpy_ranking"], seconds["ranking"]),
        "floor_users_per_s": rate["floor"],
        "ratio_floor": harness.ratio(seconds["ours"], seconds["floor"]),
        "floor_ratio": harness.ratio(seconds["numpy"], seconds["floor"]),
        "largest_difference": difference,
        "means": means,
        "peak_rss_mb": peak_rss_mb,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def main() -> None:
    """Parse the flags, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(harness.HELDOUT_USERS), default="ml-20m")
    parser.add_argument("--users", type=int, help="the first of the test users (default: all)")
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    result = benchmark(arguments)
    rows = [
        ("forward and ranking", result["users_per_s"], result["numpy_users_per_s"], result["ratio"]),
        ("ranking", result["ranking_users_per_s"], result["numpy_ranking_users_per_s"], result["ranking_ratio"]),
        ("floor: the forward products", result["floor_users_per_s"], None, None),
    ]
    title = f"evaluation, {arguments.shape}, batch {arguments.batch_size}, {result['device']}"
    harness.table(title, ("users/s", "ours", "NumPy", "ratio"), rows)
    harness.finish("evaluate", vars(arguments), result)


if __name__ == "__main__":
    main()
