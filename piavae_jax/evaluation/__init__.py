"""Full-ranking evaluation: metrics, user groups and paired significance tests."""

from piavae_jax.evaluation.evaluator import DATA_AXIS, ITEM_AXIS, Evaluator, ScoreFn
from piavae_jax.evaluation.group_comparisons import GroupComparison, compare_groups, select_users
from piavae_jax.evaluation.groups import PAPER_GROUPS, GroupSummary, UserGroup, groups_from, summarize_groups
from piavae_jax.evaluation.metrics import DEFAULT_METRICS, METRICS, Metric, MetricFn, parse_metrics
from piavae_jax.evaluation.ndcg import ndcg_at_k
from piavae_jax.evaluation.ranking import NO_ITEM, RankedItems, exclude_seen, find_hits, top_k
from piavae_jax.evaluation.recall import recall_at_k
from piavae_jax.evaluation.result_files import from_frame, read_user_metrics, to_frame, write_user_metrics
from piavae_jax.evaluation.results import MetricSummary, UserMetrics, summarize
from piavae_jax.evaluation.runs import Runs, average_runs
from piavae_jax.evaluation.significance import Comparison, bootstrap_interval, compare, holm
from piavae_jax.evaluation.splits import pool_splits
from piavae_jax.evaluation.tables import comparisons_table, format_summary, groups_table, systems_table

__all__ = [
    "DATA_AXIS",
    "DEFAULT_METRICS",
    "ITEM_AXIS",
    "METRICS",
    "NO_ITEM",
    "PAPER_GROUPS",
    "Comparison",
    "Evaluator",
    "GroupComparison",
    "GroupSummary",
    "Metric",
    "MetricFn",
    "MetricSummary",
    "RankedItems",
    "Runs",
    "ScoreFn",
    "UserGroup",
    "UserMetrics",
    "average_runs",
    "bootstrap_interval",
    "compare",
    "compare_groups",
    "comparisons_table",
    "exclude_seen",
    "find_hits",
    "format_summary",
    "from_frame",
    "groups_from",
    "groups_table",
    "holm",
    "ndcg_at_k",
    "parse_metrics",
    "pool_splits",
    "read_user_metrics",
    "recall_at_k",
    "select_users",
    "summarize",
    "summarize_groups",
    "systems_table",
    "to_frame",
    "top_k",
    "write_user_metrics",
]
