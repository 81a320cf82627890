"""Random masks on the positives of a batch, and the input that the encoder makes of them (Eq. 1-2).

Training code takes a mask as a function `(batch, key=...) -> EncoderInput`, with its settings bound by
`functools.partial`: `bernoulli`, `per_user`, `popularity_aware`, `length_aware`; `complementary` gives two inputs. The
`*_mask` functions beside them say which interactions stay. All of them scale what stays so that the input is right on
average, and draw by user and item: sparse and dense rows get the same masks.
"""

from piavae_jax.masking.bernoulli_masks import bernoulli, bernoulli_mask
from piavae_jax.masking.inputs import encoder_input
from piavae_jax.masking.length_masks import length_aware, length_mask
from piavae_jax.masking.popularity_masks import popularity_aware, popularity_keep_probs, popularity_mask
from piavae_jax.masking.user_masks import per_user, user_keep_probs
from piavae_jax.masking.views import complementary, complementary_masks

__all__ = [
    "bernoulli",
    "bernoulli_mask",
    "complementary",
    "complementary_masks",
    "encoder_input",
    "length_aware",
    "length_mask",
    "per_user",
    "popularity_aware",
    "popularity_keep_probs",
    "popularity_mask",
    "user_keep_probs",
]
