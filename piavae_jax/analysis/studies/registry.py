"""The studies that an analysis can run, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from piavae_jax.analysis.harness.study import Study
from piavae_jax.analysis.studies.drift import DRIFT
from piavae_jax.analysis.studies.epochs import EPOCHS
from piavae_jax.analysis.studies.figure2 import FIGURE2
from piavae_jax.analysis.studies.geometry import GEOMETRY
from piavae_jax.analysis.studies.information import INFORMATION
from piavae_jax.analysis.studies.learning_curves import LEARNING_CURVES
from piavae_jax.analysis.studies.masking import MASKING
from piavae_jax.analysis.studies.sensitivity import SENSITIVITY_STUDY
from piavae_jax.analysis.studies.table1 import TABLE1_STUDY
from piavae_jax.analysis.studies.table3 import TABLE3
from piavae_jax.analysis.studies.table6 import TABLE6
from piavae_jax.analysis.studies.transfer import TRANSFER
from piavae_jax.errors import UserError

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (
            TABLE1_STUDY,
            FIGURE2,
            TABLE3,
            SENSITIVITY_STUDY,
            TABLE6,
            LEARNING_CURVES,
            EPOCHS,
            TRANSFER,
            GEOMETRY,
            INFORMATION,
            MASKING,
            DRIFT,
        )
    }
)


def choose_studies(only: str | None) -> list[Study]:
    """Read a list such as "figure2,table3"; None is all.

    Raises:
      UserError: a name is unknown or repeated.
    """
    names = list(STUDIES) if only is None else only.split(",")
    for name in names:
        if name not in STUDIES:
            raise UserError(f'--only names "{name}", which is no study: choose from {", ".join(STUDIES)}')
    if len(set(names)) < len(names):
        raise UserError(f"--only must name each study once, got {only}")
    return [STUDIES[name] for name in names]
