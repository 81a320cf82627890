"""Multi-VAE and PIA in PyTorch as the public ports write them: dense rows, `csr[rows].toarray()`, log_softmax, Adam.

It is the yardstick of `bench/train.py`, plain on purpose and not part of the library.
"""

import numpy as np
import scipy.sparse
import torch
from torch import nn
from torch.nn import functional as F


class TorchMultVAE(nn.Module):
    """I - hidden - (2 x D) - hidden - I with tanh, dropout on the normalised rows, and anchors for PIA."""

    def __init__(self, num_items: int, *, hidden: int, latent_dim: int, keep_prob: float, pia: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(num_items, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent_dim))
        self.decoder = nn.Sequential(nn.Linear(latent_dim, hidden), nn.Tanh(), nn.Linear(hidden, num_items))
        self.dropout = nn.Dropout(1.0 - keep_prob)
        self.anchors = nn.Parameter(0.01 * torch.randn(num_items, latent_dim)) if pia else None

    def loss(self, rows: torch.Tensor, *, beta: float, anchor_weight: float) -> torch.Tensor:
        """The negative ELBO or, with anchors, the PIA objective with the closed anchor loss, a mean over the batch."""
        mean, logvar = self.encoder(self.dropout(F.normalize(rows))).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        nll = -(F.log_softmax(self.decoder(z), dim=-1) * rows).sum(-1)
        kl = 0.5 * (logvar.exp() + mean.square() - 1 - logvar).sum(-1)
        loss = nll + beta * kl
        if self.anchors is not None:
            counts = rows.sum(-1, keepdim=True).clamp(min=1)
            centroid = rows @ self.anchors / counts
            spread = (rows @ self.anchors.square().sum(-1, keepdim=True) / counts)[:, 0] - centroid.square().sum(-1)
            loss = loss + anchor_weight * ((mean - centroid).square().sum(-1) + logvar.exp().sum(-1) + spread)
        return loss.mean()


class TorchTrainer:
    """Steps over batches of users, on the GPU where PyTorch sees one, else on all cores."""

    def __init__(
        self, rows: scipy.sparse.csr_matrix, *, pia: bool, hidden: int, latent_dim: int, precision: str = "float32"
    ) -> None:
        """`precision` is one of the library's: `tf32` is set for the whole process, `bfloat16` is autocast."""
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = TorchMultVAE(rows.shape[1], hidden=hidden, latent_dim=latent_dim, keep_prob=0.5, pia=pia)
        self._rows, self._model = rows, model.to(self.device).train()
        self._optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        self._low = precision == "bfloat16"

    def load(self, batches: list[np.ndarray]) -> list[torch.Tensor]:
        """Dense rows of batches of users, on the device."""
        return [torch.from_numpy(self._rows[users].toarray()).to(self.device) for users in batches]

    def run(self, batches: list[np.ndarray]) -> float:
        """Train on batches of users, made dense on the host one by one, and return the last loss."""
        for users in batches:
            loss = self._step(*self.load([users]))
        return float(loss.detach())

    def run_loaded(self, batches: list[torch.Tensor], *, steps: int) -> float:
        """Train on what `load` has loaded, over and over: what is left of a step when data costs nothing."""
        for step in range(steps):
            loss = self._step(batches[step % len(batches)])
        return float(loss.detach())

    def _step(self, dense: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._low):
            loss = self._model.loss(dense, beta=0.2, anchor_weight=2.0)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss
