"""WARP-VAE + PIA, one thing changed at a time: mask, prior, beta, PIA, body, learning rate.

    python bin/benchmark.py --data data/ml1m --ablation configs/ablation_warpvae.py --seeds 5 \
      --out runs/ablation-ml1m-warpvae

Run time on MovieLens-1M: 55 runs of 1 to 2 minutes on one CPU core each. What comes out is in docs/results.md.
"""

from piavae_jax.benchmark.ablation import Ablation


def get_ablation() -> Ablation:
    return Ablation(
        "warpvae_pia",
        {
            "no PIA": {"pia.enabled": False},
            "no mask": {"mask.kind": "bernoulli", "mask.keep_prob": 1.0},
            "half kept": {"mask.kind": "bernoulli"},
            "popular items masked more": {"mask.kind": "popularity"},
            "an even number kept": {"mask.kind": "length"},
            "complementary masks": {"mask.kind": "complementary", "mask.consistency": 0.1},
            "beta .2": {"kl.cap": 0.2},
            "composite prior": {"prior.kind": "composite"},
            "a hidden layer": {"model.hidden": (600,)},
            "learning rate .001": {"optimizer.learning_rate": 0.001},
        },
    )
