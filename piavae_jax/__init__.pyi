from . import item_parallel, losses, masking, models, priors, ranking_losses, sampling, schedules, sparse, types
from .errors import UserError
from .losses import (
    ElboTerms,
    PiaTerms,
    anchor_centroid,
    anchor_loss,
    blocked_multinomial_nll,
    consistency_loss,
    elbo,
    multinomial_nll,
    pia_elbo,
    sampled_anchor_loss,
    symmetric_kl_loss,
)
from .priors import (
    composite_log_density,
    gaussian_kl,
    gaussian_log_density,
    mixture_log_density,
    sampled_kl,
    standard_normal_log_density,
)
from .ranking_losses import lambdarank_loss, warp_loss
from .sampling import reparameterize
from .schedules import adaptive_weight, carry_schedule, cyclical, linear_to_cap
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
    "composite_log_density",
    "consistency_loss",
    "cyclical",
    "elbo",
    "gaussian_kl",
    "gaussian_log_density",
    "item_parallel",
    "lambdarank_loss",
    "linear_to_cap",
    "losses",
    "masking",
    "mixture_log_density",
    "models",
    "multinomial_nll",
    "pia_elbo",
    "priors",
    "ranking_losses",
    "reparameterize",
    "sampled_anchor_loss",
    "sampled_kl",
    "sampling",
    "schedules",
    "sparse",
    "standard_normal_log_density",
    "symmetric_kl_loss",
    "types",
    "warp_loss",
]
