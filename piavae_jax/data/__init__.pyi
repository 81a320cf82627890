from . import known, readers
from .cleaning import clean
from .csr import CSR, from_pairs, item_counts
from .events import Events
from .generator import GroundTruth, Synthetic, generate
from .interactions import Interactions
from .liang_csv import read_liang_csv, write_liang_csv
from .manifest import Counts, Manifest, RawCounts, SplitCounts
from .prepared import HeldOut, PreparedDataset, load_prepared, vocabulary_digest, write_prepared
from .protocol import StrongGeneralization
from .shapes import SHAPES, Shape, find_shape
from .splits import LeaveLastOut, RandomSplit

__all__ = [
    "CSR",
    "SHAPES",
    "Counts",
    "Events",
    "GroundTruth",
    "HeldOut",
    "Interactions",
    "LeaveLastOut",
    "Manifest",
    "PreparedDataset",
    "RandomSplit",
    "RawCounts",
    "Shape",
    "SplitCounts",
    "StrongGeneralization",
    "Synthetic",
    "clean",
    "find_shape",
    "from_pairs",
    "generate",
    "item_counts",
    "known",
    "load_prepared",
    "read_liang_csv",
    "readers",
    "vocabulary_digest",
    "write_liang_csv",
    "write_prepared",
]
