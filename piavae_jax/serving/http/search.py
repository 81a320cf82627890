"""Items by the words of their titles."""

import unicodedata
from typing import Any

import polars as pl


class TitleSearch:
    """A search that ignores case and accents. Safe for threads."""

    def __init__(self, vocabulary: pl.DataFrame) -> None:
        """Take a run's vocabulary; an item without a title is found by its id."""
        shown = vocabulary["title"].fill_null(vocabulary["item_id"].cast(pl.String))
        self._table = vocabulary.with_columns(
            id=pl.col("item_id").cast(pl.String), folded=pl.Series([fold(title) for title in shown], dtype=pl.String)
        )

    def __call__(self, text: str, limit: int) -> list[dict[str, Any]]:
        """`schemas.FoundItem`s whose titles hold every word of a text, or whose id it is.

        Those that begin with the text come first, then those with a word that begins with it, then by number of
        training users. An empty text finds the most popular items.
        """
        folded = fold(text)
        holds_all = [pl.col("folded").str.contains(word, literal=True) for word in folded.split()]
        found = self._table.filter(pl.all_horizontal(pl.lit(True), *holds_all) | (pl.col("id") == text.strip()))
        order = [
            pl.col("id") == text.strip(),
            pl.col("folded").str.starts_with(folded),
            pl.col("folded").str.contains(f" {folded}", literal=True),
            pl.col("train_users"),
        ]
        best = found.sort(order, descending=True, maintain_order=True).head(limit)
        return best.select("item_id", "title", "train_users").to_dicts()


def fold(text: str) -> str:
    """Lower case, without accents, one space between words."""
    decomposed = unicodedata.normalize("NFKD", text.encode("utf-8", "replace").decode())
    return " ".join("".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold().split())
