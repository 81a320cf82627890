"""The paper's theory measured on trained models: from a subject and rows to tables."""

from piavae_jax.analysis.measurements.drifting import DriftMeasurement, measure_drift
from piavae_jax.analysis.measurements.epochs import measure_epochs
from piavae_jax.analysis.measurements.geometry import GeometryMeasurement, measure_geometry
from piavae_jax.analysis.measurements.latent_information import InformationMeasurement, measure_information
from piavae_jax.analysis.measurements.masking_grid import masked_pairs, masking_curves
from piavae_jax.analysis.measurements.transferring import TransferMeasurement, measure_transfer

__all__ = [
    "DriftMeasurement",
    "GeometryMeasurement",
    "InformationMeasurement",
    "TransferMeasurement",
    "masked_pairs",
    "masking_curves",
    "measure_drift",
    "measure_epochs",
    "measure_geometry",
    "measure_information",
    "measure_transfer",
]
