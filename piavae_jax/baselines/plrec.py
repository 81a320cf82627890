"""PLRec: Sedhain et al., "Practical linear models for large-scale one-class collaborative filtering", IJCAI 2016."""

import importlib.util
from functools import partial

import numpy as np
import scipy  # scipy.sparse loads at its first use

from piavae_jax.baselines.baseline import Baseline
from piavae_jax.baselines.checks import check_dim, check_not_negative, check_positive
from piavae_jax.baselines.low_rank import low_rank_scores
from piavae_jax.baselines.rows import as_matrix
from piavae_jax.data.checks import check_count, check_legacy_seed
from piavae_jax.errors import UserError


def plrec(*, dim: int = 256, regularization: float = 100.0, degree_exponent: float = 0.5, seed: int = 0) -> Baseline:
    """Build PLRec: all items regressed on D features of the user, which are linear in the user's row.

    The features are `F = X E` with `E = C^-e V`: C holds the items' degrees (users each) and V the first D right
    singular vectors of `X C^-e`. The weights `W` minimise `||X - F W||^2 + lambda ||W||^2`, and the scores of a row x
    are `x E W`. Parameters: `encoder`, E, float32[I, D], and `decoder`, W, float32[D, I].

    Args:
      dim: D, at most the number of users and of items.
      regularization: lambda.
      degree_exponent: e; 0 leaves popular items their weight in the features, 1/2 and more take it.
      seed: of the randomised singular value decomposition (Halko, Martinsson, Tropp 2011).

    Raises:
      UserError: an argument is out of range, or scikit-learn is not installed when it is fitted.
    """
    check_count("dim", dim, minimum=1)
    check_legacy_seed(seed)
    check_positive("regularization", regularization, example=100)
    check_not_negative("degree_exponent", degree_exponent, example=0.5)
    solve = partial(_solve, dim=dim, regularization=regularization, degree_exponent=degree_exponent, seed=seed)
    return Baseline(as_matrix, solve, low_rank_scores)


def check_plrec_installed() -> None:
    """Refuse to fit PLRec where it cannot be.

    Raises:
      UserError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise UserError("PLRec needs scikit-learn; install it with: pip install 'piavae-jax[baselines]'")


def _solve(
    matrix: "scipy.sparse.csr_array", *, dim: int, regularization: float, degree_exponent: float, seed: int
) -> dict[str, np.ndarray]:
    check_dim(dim, matrix.shape)
    check_plrec_installed()
    from sklearn.utils.extmath import randomized_svd  # a second to load

    degrees = np.maximum(matrix.sum(axis=0), 1.0)  # an item without users is a zero column, whatever divides it
    scale = (degrees**-degree_exponent).astype(np.float32)
    _, _, axes = randomized_svd(matrix * scale[None, :], dim, random_state=seed)
    encoder = scale[:, None] * axes.T.astype(np.float32)
    features = matrix @ encoder
    normal = features.T @ features + np.float32(regularization) * np.eye(dim, dtype=np.float32)
    decoder = scipy.linalg.solve(normal, (matrix.T @ features).T, assume_a="pos")
    return {"encoder": encoder, "decoder": decoder}
