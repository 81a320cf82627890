"""The systems that a benchmark can run, by name, and the pairs that tell what an addition adds."""

from collections.abc import Mapping
from types import MappingProxyType

from piavae_jax.baselines.plrec import check_plrec_installed
from piavae_jax.benchmark.fusing import fused
from piavae_jax.benchmark.linear import linear
from piavae_jax.benchmark.neural import neural
from piavae_jax.benchmark.system import System
from piavae_jax.errors import UserError

ALL = "all"

SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        system.name: system
        for system in (
            linear("popularity", "Popularity", family="popularity"),
            linear("mf", "MF"),
            linear("wmf", "WMF"),
            linear("grals", "GRALS"),
            linear("plrec", "PLRec", check=check_plrec_installed),
            linear("ease", "EASE"),
            linear("edlae", "EDLAE"),
            linear("edlae_weighted", "EDLAE, users weighted"),
            neural("multidae", "Multi-DAE"),
            neural("cdae", "CDAE"),
            neural("warp", "WARP", family="ranking"),
            neural("lambdanet", "LambdaNet", family="ranking"),
            neural("ract", "RaCT", family="ranking"),
            neural("multvae", "Multi-VAE"),
            neural("multvae_pia", "Multi-VAE + PIA"),
            neural("recvae", "RecVAE"),
            neural("recvae_pia", "RecVAE + PIA"),
            neural("warpvae", "WARP-VAE"),
            neural("warpvae_pia", "WARP-VAE + PIA"),
            neural("hvamp", "H+Vamp (gated)"),
            fused("fusion", "RecVAE + PIA + EDLAE", presets=("recvae_pia",), linear="edlae_weighted"),
            fused("fusion_warp", "WARP-VAE + PIA + EDLAE", presets=("warpvae_pia",), linear="edlae_weighted"),
            fused(
                "fusion_both",
                "Both VAEs + PIA + EDLAE",
                presets=("warpvae_pia", "recvae_pia"),
                linear="edlae_weighted",
            ),
            fused(
                "fusion_all",
                "Both VAEs + PIA + EDLAE + WMF",
                presets=("warpvae_pia", "recvae_pia"),
                linear="edlae_weighted",
                factors="wmf",
            ),
        )
    }
)

UPLIFTS = (
    ("multvae_pia", "multvae"),
    ("recvae_pia", "recvae"),
    ("warpvae_pia", "warpvae"),
    ("warpvae_pia", "recvae"),
    ("fusion", "edlae_weighted"),
    ("fusion", "recvae_pia"),
    ("fusion_warp", "edlae_weighted"),
    ("fusion_warp", "warpvae_pia"),
    ("fusion_both", "fusion_warp"),
    ("fusion_both", "fusion"),
    ("fusion_all", "fusion_both"),
    ("fusion_all", "wmf"),
)
"""Pairs of a system and what it adds something to: PIA, or the other half of a fusion."""


def choose_systems(text: str) -> list[System]:
    """Read a list such as "multvae,popularity", or "all".

    Raises:
      UserError: a name is unknown or repeated.
    """
    names = list(SYSTEMS) if text == ALL else text.split(",")
    for name in names:
        if name not in SYSTEMS:
            raise UserError(f'--models names "{name}", which is no model: choose from {", ".join(SYSTEMS)}, or {ALL}')
    if len(set(names)) < len(names):
        raise UserError(f"--models must name each model once, got {text}")
    return [SYSTEMS[name] for name in names]
