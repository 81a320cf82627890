"""What a model must know of the data that it is built for."""

from typing import NamedTuple

import numpy as np

from piavae_jax.data.csr import item_counts
from piavae_jax.data.prepared import PreparedDataset


class Catalogue(NamedTuple):
    """The items, how popular they are, and how many users train; a run folder keeps it."""

    train_users: np.ndarray
    """int64[I], training users of each item."""
    num_train_users: int

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.train_users)

    def resized(self, num_items: int) -> "Catalogue":
        """One of another size, for those who ask which arrays grow with it; its popularities mean nothing."""
        return self._replace(train_users=np.ones(num_items, np.int64))


def catalogue_of(dataset: PreparedDataset) -> Catalogue:
    """The catalogue of a data set's training rows."""
    return Catalogue(item_counts(dataset.train, dataset.num_items), dataset.train.num_rows)
