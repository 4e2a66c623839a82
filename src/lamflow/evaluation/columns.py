"""Columns of the results tables, apart from what reads them: a stage that only writes one need not load pandas."""

PART = "/"
"""Stands in the column ``env`` between an environment that is made of others and the one of them that was played."""
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
DIFFERENCE_COLUMNS = ("env", "labels", "method", "baseline", "num_seeds", "num_draws", "difference", "low", "high")
"""Columns of ``summary/differences.csv``: by how much ``method`` beats ``baseline`` with the same labels, paired by seed and draw."""
PROFILE_COLUMNS = ("env", "method", "labels", "threshold", "fraction", "low", "high")
"""Columns of ``summary/profile.csv``: the fraction of agents whose normalised return is above each threshold."""
CURVE_COLUMNS = ("env", "method", "seed", "env_steps", "episodes", "return_mean", "return_random", "return_expert")
"""Columns of the ``curve.csv`` of a training online: one row a rollout, which began after ``env_steps`` steps; ``return_mean``
is of the ``episodes`` that began in it, empty where none did."""
ONLINE_COLUMNS = ("env", "method", "env_steps", "mean", "low", "high")
"""Columns of ``summary/online.csv``: normalised training returns, mean over seeds with 95% intervals."""
EFFICIENCY_COLUMNS = (
    "env",
    "method",
    "baseline",
    "baseline_final",
    "baseline_converged",
    "env_steps",
    "mean",
    "low",
    "high",
    "baseline_mean",
    "baseline_low",
    "baseline_high",
)
"""Columns of ``summary/sample_efficiency.csv``: where ``method`` is at a tenth of the steps that ``baseline`` needs to converge."""
