"""Runs that differ by their seed as one system."""

from collections.abc import Mapping

from piavae_jax.analysis.harness.labels import label_runs
from piavae_jax.analysis.harness.run_pairs import settings_of
from piavae_jax.training.run_folder import RunFolder


def group_seeds(runs: Mapping[str, RunFolder]) -> dict[str, dict[str, RunFolder]]:
    """Bring runs together that differ by nothing but their seed and name.

    Args:
      runs: by label.

    Returns:
      The runs of each system by their labels, by a label of the system: that of a single run, or that of its first one
      among those of the other systems, such as "masking + PIA (5 seeds)".
    """
    systems: list[dict[str, RunFolder]] = []
    for label, run in runs.items():
        for system in systems:
            if settings_of(next(iter(system.values()))) == settings_of(run):
                system[label] = run
                break
        else:
            systems.append({label: run})
    labels = label_runs([next(iter(system.values())) for system in systems])
    return {
        f"{label} ({len(system)} seeds)" if len(system) > 1 else label: system
        for label, system in zip(labels, systems, strict=True)
    }
