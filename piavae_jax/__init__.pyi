from . import item_parallel, losses, masking, models, priors, sampling, schedules, sparse, types
from .errors import UserError
from .losses import (
    ElboTerms,
    PiaTerms,
    anchor_centroid,
    anchor_loss,
    blocked_multinomial_nll,
    elbo,
    multinomial_nll,
    pia_elbo,
    sampled_anchor_loss,
)
from .priors import gaussian_kl
from .sampling import reparameterize
from .schedules import adaptive_weight, carry_schedule, linear_to_cap
from .types import FactoredLogits, Posterior, SparseBatch, SparseInput

__version__: str

__all__ = [
    "ElboTerms",
    "FactoredLogits",
    "PiaTerms",
    "Posterior",
    "SparseBatch",
    "SparseInput",
    "UserError",
    "adaptive_weight",
    "anchor_centroid",
    "anchor_loss",
    "blocked_multinomial_nll",
    "carry_schedule",
    "elbo",
    "gaussian_kl",
    "item_parallel",
    "linear_to_cap",
    "losses",
    "masking",
    "models",
    "multinomial_nll",
    "pia_elbo",
    "priors",
    "reparameterize",
    "sampled_anchor_loss",
    "sampling",
    "schedules",
    "sparse",
    "types",
]
