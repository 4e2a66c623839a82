"""Columns of the results tables, apart from what reads them: a stage that only writes one need not load pandas."""

PART = "/"
"""Stands in the column ``env`` between an environment that is made of others and the one of them that was played."""
RETURNS_COLUMNS = (
    "env", "method", "seed", "labels", "label_draw", "policy_episodes", "split", "episode", "level_seed", "return", "length", "success",
    "return_random", "return_expert",
)  # fmt: skip
"""Columns of an agent's ``returns.csv``: one row an episode."""
AGENT_COLUMNS = (
    "env", "method", "labels", "label_draw", "seed", "policy_episodes", "split", "episodes", "return_mean", "return_std",
    "normalized_return", "normalized_return_cobbe", "success_rate",
)  # fmt: skip
"""Columns of ``summary/returns.csv``: one row an agent and split."""
AGGREGATE_COLUMNS = (
    "env", "method", "labels", "policy_episodes", "split", "num_seeds", "num_draws", "episodes", "mean", "mean_low",
    "mean_high", "iqm", "iqm_low", "iqm_high", "success_rate", "success_low", "success_high",
)  # fmt: skip
"""Columns of ``summary/aggregate.csv``: one row an environment, method, label budget and split."""
IMPROVEMENT_COLUMNS = ("env", "labels", "split", "method", "baseline", "probability", "low", "high")
"""Columns of ``summary/improvement.csv``: the chance that ``method`` beats ``baseline`` with the same labels."""
DIFFERENCE_COLUMNS = (
    "env", "labels", "split", "method", "baseline", "num_seeds", "num_draws", "difference", "low", "high",
)  # fmt: skip
"""Columns of ``summary/differences.csv``: by how much ``method`` beats ``baseline`` with the same labels, paired by seed and draw."""
PROFILE_COLUMNS = ("env", "method", "labels", "split", "threshold", "fraction", "low", "high")
"""Columns of ``summary/profile.csv``: the fraction of agents whose normalised return is above each threshold."""
OLDER_TABLES = {"policy_episodes": "", "split": "test"}
"""What stands in columns that tables of older versions lack."""
CURVE_COLUMNS = ("env", "method", "seed", "env_steps", "episodes", "return_mean", "return_random", "return_expert")
"""Columns of the ``curve.csv`` of a training online: one row a rollout, which began after ``env_steps`` steps; ``return_mean``
is of the ``episodes`` that began in it, empty where none did."""
POLICY_CURVE_COLUMNS = (
    "env", "method", "seed", "labels", "label_draw", "policy_episodes", "split", "step", "episodes", "return_mean", "success_rate",
    "return_random", "return_expert",
)  # fmt: skip
"""Columns of the ``curve.csv`` of a policy's training: one row an agent and evaluation."""
POLICY_RETURNS_COLUMNS = (
    "env", "method", "labels", "policy_episodes", "split", "step", "num_seeds", "num_draws", "episodes", "return_mean", "mean", "low",
    "high",
)  # fmt: skip
"""Columns of ``summary/policy_returns.csv``: one row an environment, method, label budget and training step."""
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
ACTIONS_COLUMNS = (
    "env", "method", "seed", "labels", "label_draw", "policy_episodes", "what", "measure", "episode", "rows", "entry", "error",
    "constant_error", "scale",
)  # fmt: skip
"""Columns of an ``actions.csv``: one row an agent or decoder, recorded episode and entry of an action."""
ACTION_SCORE_COLUMNS = (
    "env", "method", "labels", "label_draw", "seed", "policy_episodes", "what", "measure", "episodes", "rows", "score", "constant",
)  # fmt: skip
"""Columns of ``summary/action_scores.csv``: one row an agent or decoder."""
ACTION_AGGREGATE_COLUMNS = (
    "env", "method", "labels", "policy_episodes", "what", "measure", "num_seeds", "num_draws", "episodes", "rows", "score", "low", "high",
    "constant",
)  # fmt: skip
"""Columns of ``summary/action_aggregate.csv``: one row an environment, method, label budget, and agents or decoders."""
