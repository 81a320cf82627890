"""The paper's theory as pure functions on posteriors and decoders, and what trained models say to it."""

from piavae_jax.analysis.active_units import UnitActivity, active_units, collapse_warning, unit_activity
from piavae_jax.analysis.alignment import AlignmentTerms, alignment_terms, fitted_anchors
from piavae_jax.analysis.compromise import Compromise, compromise, compromise_gap
from piavae_jax.analysis.contraction import (
    Curvature,
    MaskStatistics,
    contraction_factor,
    elbo_curvature,
    mask_statistics,
)
from piavae_jax.analysis.decoder_gradients import gradient_gram
from piavae_jax.analysis.information import Estimate, KLDecomposition, aggregated_log_density, kl_decomposition
from piavae_jax.analysis.input_distance import (
    RowOverlap,
    drop_one_item,
    is_far_but_related,
    is_local,
    neighbourhood,
    row_overlap,
)
from piavae_jax.analysis.lipschitz import LipschitzRatios, lipschitz_ratios
from piavae_jax.analysis.masked_distance import (
    closer_probability,
    contraction_bound,
    expansion_bound,
    mean_masked_distance,
    simulate_masked_distance,
)
from piavae_jax.analysis.neighbours import nearest_neighbours, neighbour_overlap
from piavae_jax.analysis.pairs import random_pairs, spread_pairs
from piavae_jax.analysis.posteriors import batch_of, dense_rows, encode_rows, take
from piavae_jax.analysis.subject import ANALYSABLE, Subject, load_subject
from piavae_jax.analysis.transfer import (
    Transfer,
    expected_loss,
    first_order_bound,
    local_lipschitz,
    sharing_radius,
    transfer,
    transfer_penalty,
)
from piavae_jax.analysis.transport import mean_transport_bound, transport_bound
from piavae_jax.analysis.wasserstein import W1Bounds, coupled_w1, sampled_w1, w1_bounds, w2, w2_points

__all__ = [
    "ANALYSABLE",
    "AlignmentTerms",
    "Compromise",
    "Curvature",
    "Estimate",
    "KLDecomposition",
    "LipschitzRatios",
    "MaskStatistics",
    "RowOverlap",
    "Subject",
    "Transfer",
    "UnitActivity",
    "W1Bounds",
    "active_units",
    "aggregated_log_density",
    "alignment_terms",
    "batch_of",
    "closer_probability",
    "collapse_warning",
    "compromise",
    "compromise_gap",
    "contraction_bound",
    "contraction_factor",
    "coupled_w1",
    "dense_rows",
    "drop_one_item",
    "elbo_curvature",
    "encode_rows",
    "expansion_bound",
    "expected_loss",
    "first_order_bound",
    "fitted_anchors",
    "gradient_gram",
    "is_far_but_related",
    "is_local",
    "kl_decomposition",
    "lipschitz_ratios",
    "load_subject",
    "local_lipschitz",
    "mask_statistics",
    "mean_masked_distance",
    "mean_transport_bound",
    "nearest_neighbours",
    "neighbour_overlap",
    "neighbourhood",
    "random_pairs",
    "row_overlap",
    "sampled_w1",
    "sharing_radius",
    "simulate_masked_distance",
    "spread_pairs",
    "take",
    "transfer",
    "transfer_penalty",
    "transport_bound",
    "unit_activity",
    "w1_bounds",
    "w2",
    "w2_points",
]
