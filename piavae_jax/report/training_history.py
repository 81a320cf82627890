"""How a run was trained: its epochs, and those of the members of a fused one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from piavae_jax.benchmark.formats import metric_title
from piavae_jax.report.charts import LineChart, line_chart
from piavae_jax.training import run_folder
from piavae_jax.training.checkpoint import Checkpoints
from piavae_jax.training.curves import TERMS
from piavae_jax.training.ensemble import member_configs
from piavae_jax.training.run_folder import RunFolder

_WEIGHTS = (
    ("beta", "β", "weight of the KL term", "kl"),
    ("anchor_weight", "λ_A", "weight of the anchor loss", "anchor"),
)


class History(NamedTuple):
    """Records of the epochs."""

    records: Sequence[Mapping[str, Any]]
    """Of the run or, where it is fused, of its first member; empty where the folder has none."""
    seconds: float
    """Training and validation of all epochs, of all members."""


def read_history(run: RunFolder) -> History:
    """Read the epochs of a run, or of the members of a fused one.

    Those of a run that was killed go beyond its checkpoint, which the parameters are from; they are left out.
    """
    if run.config.fusion.fuses:
        folders = [Path(member.workdir) for member in member_configs(run.config, run.path)]
        records = [run_folder.read_metrics(run_folder.load(path)) for path in folders if run_folder.exists(path)]
    else:
        with Checkpoints(run.path, read_only=True) as checkpoints:
            last = checkpoints.epoch or 0
        records = [[record for record in run_folder.read_metrics(run) if record["epoch"] <= last]]
    seconds = sum(record["train_seconds"] + record["validation_seconds"] for epochs in records for record in epochs)
    return History(records[0] if records else [], seconds)


def draw_history(records: Sequence[Mapping[str, Any]]) -> list[LineChart]:
    """Charts of validation, of each loss term and of weights that change."""
    if not records:
        return []
    best = records[-1]["best_epoch"]
    fields = {field for record in records for field in record}
    validation = {
        field: metric_title(field.removeprefix("validation/"))
        for field in records[0]
        if field.startswith("validation/")
    }
    panels = [(validation, "validation")]
    panels += [({field: label}, f"{label}, unweighted") for field, label in TERMS.items() if field in fields]
    panels += [
        ({field: label}, f"{label}, {meaning}")
        for field, label, meaning, term in _WEIGHTS
        if term in fields and len({record[field] for record in records}) > 1  # provenance has those that are constant
    ]
    return [line_chart(records, series, title=title, best=best) for series, title in panels]
