"""Multi-VAE + PIA, one thing changed at a time: mask, prior, beta, PIA, body, likelihood, learning rate.

    python bin/benchmark.py --data data/ml1m --ablation configs/ablation_multvae.py --seeds 5 --out runs/ablation-ml1m

Run time on MovieLens-1M: 65 runs of 1 to 5 minutes on one CPU core each; on Amazon-book of 10 to 100 seconds on an H200
that ten share (`--processes 10`). What comes out is in docs/results.md.
"""

from piavae_jax.benchmark.ablation import Ablation


def get_ablation() -> Ablation:
    return Ablation(
        "multvae_pia",
        {
            "no PIA": {"pia.enabled": False},
            "no mask": {"mask.keep_prob": 1.0},
            "a mask per user": {"mask.kind": "per_user"},
            "popular items masked more": {"mask.kind": "popularity"},
            "an even number kept": {"mask.kind": "length"},
            "complementary masks": {"mask.kind": "complementary", "mask.consistency": 0.1},
            "beta .05": {"kl.cap": 0.05},
            "composite prior": {"prior.kind": "composite"},
            "no hidden layer": {"model.hidden": ()},
            "WARP": {"model.reconstruction": "warp"},
            "learning rate .002": {"optimizer.learning_rate": 0.002},
            "VampPrior": {"prior.kind": "vamp"},
        },
    )
