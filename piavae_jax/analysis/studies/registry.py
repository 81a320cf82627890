"""The studies that an analysis can run, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from piavae_jax.analysis.harness.study import Study
from piavae_jax.analysis.studies.table3 import TABLE3
from piavae_jax.errors import UserError

STUDIES: Mapping[str, Study] = MappingProxyType({study.name: study for study in (TABLE3,)})


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
