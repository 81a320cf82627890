"""WARP-VAE + PIA with 200 latent dimensions, where 1,200 take too long, one thing changed at a time.

    python bin/benchmark.py --data data/amazon_book --ablation configs/ablation_warpvae_narrow.py --seeds 5 \
      --out runs/ablation-amazon_book-warpvae

The variants are those of `ablation_warpvae.py`, the likelihood in the place of WARP, and the two together that are best
alone, with and without PIA. Run time on Amazon-book: 70 runs of 4 to 45 minutes on a CPU core, or of 10 to 140 seconds
on an H200 that ten share (`--processes 10`).
"""

from pathlib import Path

from piavae_jax.benchmark.ablation import Ablation, read_ablation


def get_ablation() -> Ablation:
    wide = read_ablation(Path(__file__).with_name("ablation_warpvae.py"))
    best = ("an even number kept", "learning rate .001")
    together = {path: value for name in best for path, value in wide.variants[name].items()}
    return wide._replace(
        variants={
            **wide.variants,
            "multinomial likelihood": {"model.reconstruction": "multinomial"},
            ", ".join(best): together,
            ", ".join((*best, "no PIA")): {**together, **wide.variants["no PIA"]},
        },
        name="200 dimensions",
        settings={"model.latent_dim": 200},
    )
