"""Systems and outcomes that cost nothing, and settings with which a real one costs little."""

import numpy as np
import polars as pl

from piavae_jax.benchmark.system import Outcome, System
from piavae_jax.evaluation import UserMetrics

METRICS = ("ndcg@100", "recall@20")
H, D = 16, 6
TINY = {
    "model.hidden": (H,),
    "model.latent_dim": D,
    "training.epochs": 3,
    "training.batch_size": 16,
    "training.devices": 1,
}


def fake_metrics(mean, *, seed=0, num_users=40, noise=0.05):
    """Users who differ in how easy they are, every tenth without held-out items."""
    ease = np.random.default_rng(99).normal(0, 0.1, num_users)
    generator = np.random.default_rng((seed, round(1e6 * mean)))
    num_target = np.where(np.arange(num_users) % 10 == 0, 0, 3)
    values = {
        metric: np.where(num_target > 0, mean + ease + noise * generator.normal(size=num_users), np.nan)
        for metric in METRICS
    }
    return UserMetrics(pl.Series(np.arange(num_users)), np.full(num_users, 9), num_target, values)


def fake_outcome(mean, *, seed=0):
    return Outcome(fake_metrics(mean - 0.01, seed=seed + 50), fake_metrics(mean, seed=seed), 2.0 + seed, 1234, {"a": 1})


def fake_system(name, mean=0.4, *, seeds=True, label=None, error=None, calls=None):
    """A system whose runs are listed in `calls`, and raise an error if there is one."""

    def run(dataset, folder, seed, console):
        if calls is not None:
            calls.append((name, seed))
        if error is not None:
            raise error
        return fake_outcome(mean, seed=seed)

    return System(name, label or name.upper(), seeds, "vae", run)
