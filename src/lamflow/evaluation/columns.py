"""Columns of the results tables, apart from what reads them: a stage that only writes one need not load pandas."""

RETURNS_COLUMNS = (
    "env", "method", "seed", "labels", "label_draw", "episode", "level_seed", "return", "length", "success", "return_random",
    "return_expert",
)  # fmt: skip
"""Columns of an agent's ``returns.csv``: one row an episode."""
AGENT_COLUMNS = (
    "env", "method", "labels", "label_draw", "seed", "split", "episodes", "return_mean", "return_std", "normalized_return",
    "normalized_return_cobbe", "success_rate",
)  # fmt: skip
"""Columns of ``summary/returns.csv``: one row an agent."""
AGGREGATE_COLUMNS = (
    "env", "method", "labels", "num_seeds", "num_draws", "episodes", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high",
    "success_rate", "success_low", "success_high",
)  # fmt: skip
"""Columns of ``summary/aggregate.csv``: one row an environment, method and label budget."""
IMPROVEMENT_COLUMNS = ("env", "labels", "method", "baseline", "probability", "low", "high")
"""Columns of ``summary/improvement.csv``: the chance that ``method`` beats ``baseline`` with the same labels."""
