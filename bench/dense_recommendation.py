"""Recommendation as a plain loop writes it, the yardstick of `bench/score.py`: everything read into memory, dense rows.

PyTorch's layers and `topk` where it is installed, on the GPU where it sees one; else NumPy's products and
`argpartition`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy_evaluation as reference
import polars as pl
import scipy.sparse

_BATCH = 500

Rank = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""`rank(rows: float32[B, I]) -> (items: int[B, K], scores: float32[B, K])`, seen items left out, best first."""


def torch_rank(params: Mapping[str, Any], k: int) -> Rank:
    """Multi-VAE with one hidden layer a side in PyTorch, from the parameters of ours.

    Raises:
      ImportError: PyTorch is not installed.
    """
    import torch
    from torch.nn import functional as F

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def layer(group: str, name: str) -> list[torch.Tensor]:
        kernel, bias = (np.asarray(params[group][name][part]) for part in ("kernel", "bias"))
        return [torch.tensor(kernel.T).contiguous().to(device), torch.tensor(bias).to(device)]

    to_hidden, to_latent = layer("encoder", "InputLayer_0"), layer("encoder", "Linear_0")
    from_latent, to_items = layer("decoder", "Linear_0"), layer("decoder", "Linear_1")

    @torch.no_grad()
    def rank(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dense = torch.from_numpy(rows).to(device)
        hidden = torch.tanh(F.linear(F.normalize(dense), *to_hidden))
        mean = F.linear(hidden, *to_latent).chunk(2, dim=-1)[0]
        scores = F.linear(torch.tanh(F.linear(mean, *from_latent)), *to_items)
        scores[dense > 0] = -torch.inf
        best = torch.topk(scores, k, dim=-1)
        return best.indices.numpy(force=True), best.values.numpy(force=True)

    return rank


def numpy_rank(params: Mapping[str, Any], k: int) -> Rank:
    """The same in NumPy."""

    def rank(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = reference.multvae(params, rows)
        scores[rows > 0] = -np.inf
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        values = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-values, axis=1)
        return np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)

    return rank


def recommend(log: Path, output: Path, items: pl.Series, rank: Rank) -> int:
    """Read a log, rank for each user, write one Parquet file; returns the number of users."""
    table = pl.read_parquet(log).join(pl.DataFrame({"item": items}).with_row_index("index"), on="item")
    users, rows = np.unique(table["user"].to_numpy(), return_inverse=True)
    matrix = scipy.sparse.coo_matrix(
        (np.ones(len(rows), np.float32), (rows, table["index"].to_numpy())), shape=(len(users), len(items))
    ).tocsr()
    matrix.data[:] = 1.0  # repeats were added up
    parts = []
    for start in range(0, len(users), _BATCH):
        found, scores = rank(matrix[start : start + _BATCH].toarray())
        count, k = found.shape
        columns = {
            "user_id": np.repeat(users[start : start + count], k),
            "item_id": items.gather(found.reshape(-1)),
            "score": scores.reshape(-1),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), count),
        }
        parts.append(pl.DataFrame(columns))
    pl.concat(parts).write_parquet(output)
    return len(users)
