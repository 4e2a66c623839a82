"""What there is to be made of an experiment: its runs, and the results that people look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lamflow.data.label_budgets import LabelCount
from lamflow.experiment.artefacts import artefacts_of
from lamflow.experiment.experiment import Experiment
from lamflow.experiment.left_out import left_out
from lamflow.methods.settings import Stage
from lamflow.spaces import Discrete, Pixels

Run = Mapping[str, Any]
"""Values of wildcards by their names."""
TABLES = ("returns", "aggregate", "improvement", "differences", "profile")
ACTION_TABLES = ("action_scores", "action_aggregate")


class Targets:
    """The runs and paths of one experiment."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def paths(self, pattern: str, runs: Iterable[Run]) -> list[str]:
        """The paths under the experiment's results that ``pattern`` gives for each of ``runs``."""
        return [f"results/{self.experiment.experiment}/{pattern.format(**run)}" for run in runs]

    def methods_with(self, stage: Stage) -> list[str]:
        """The methods that have a stage."""
        return [name for name, method in self.experiment.methods.items() if method.needed(stage) is not None]

    def env_runs(self) -> list[Run]:
        """Each environment."""
        return [{"env": env} for env in self.experiment.envs]

    def played_envs(self) -> list[str]:
        """The environments in which agents play."""
        return [env for env in self.experiment.envs if self.experiment.is_played(env)]

    def scored_envs(self) -> list[str]:
        """Those that nobody plays, where answers are compared with recorded actions."""
        scored = {run["env"] for run in self.method_runs(self.experiment.envs, "scores")}
        return [env for env in self.experiment.envs if env in scored]

    def lam_runs(self, envs: Sequence[str]) -> list[Run]:
        """Environment, LAM and seed of each LAM that some method needs on ``envs``."""
        return [
            {"env": env, "lam": lam, "seed": seed}
            for env in envs
            for lam in self.experiment.lams_of(env)
            for seed in self.experiment.seeds
        ]

    def method_runs(self, envs: Sequence[str], stage: Stage, seeds: Sequence[int | str] | None = None) -> list[Run]:
        """Environment, method and seed of each job of a stage."""
        return [
            {"env": env, "method": method, "seed": seed}
            for env in envs
            for method in self.experiment.methods_of(env)
            if self.experiment.does(env, method, stage)
            for seed in (self.experiment.seeds if seeds is None else seeds)
        ]

    def played_in_training(self) -> list[str]:
        """The methods whose policies play while they train."""
        if not self.experiment.evaluation.during_training:
            return []
        return [name for name, method in self.experiment.methods.items() if method.plays_in_training]

    def methods_trained_unseen(self) -> list[str]:
        """The methods whose policies train without playing, in some environment."""
        if len(self.played_envs()) < len(self.experiment.envs):
            return self.methods_with("policy")
        return [name for name in self.methods_with("policy") if name not in self.played_in_training()]

    def policy_returns(self) -> list[str]:
        """The returns in training of all policies that play meanwhile."""
        played = self.played_in_training()
        runs = [run for run in self.method_runs(self.played_envs(), "policy") if run["method"] in played]
        return self.paths("policies/{env}/{method}/seed{seed}/curve.csv", runs)

    def agents(self) -> list[str]:
        """What all agents are made of: everything that is trained, but nothing that is played."""
        envs = self.experiment.envs
        found = [artefacts_of(self.experiment, "agent", **run) for run in self.method_runs(envs, "agent")]
        made_of = [path for artefacts in found for name, path in artefacts.items() if name != "episodes"]
        policies = self.paths("policies/{env}/{method}/seed{seed}/policy.safetensors", self.method_runs(envs, "policy"))
        return list(dict.fromkeys([*made_of, *policies]))

    def tables(self) -> list[str]:
        """The rollouts of all agents, or their answers where nobody plays, and the tables of them all."""
        envs = self.experiment.envs
        return [*self.returns(envs), *self.actions(envs), *self._summary(), *self._action_summary()]

    def _action_summary(self) -> list[str]:
        """The tables over all answers to recorded actions."""
        return self.paths("summary/{table}.csv", [{"table": table} for table in ACTION_TABLES if self.scored_envs()])

    def _summary(self) -> list[str]:
        """The tables over all agents that play."""
        if not self.played_envs():
            return []
        return [
            *self.paths("summary/{table}.csv", [{"table": table} for table in TABLES]),
            *self.paths("summary/table.{suffix}", [{"suffix": suffix} for suffix in ("csv", "md", "tex")]),
        ]

    def policy_runs(self, env: str) -> list[Run]:
        """Method and seed of each cloned policy on ``env``."""
        return self.method_runs([env], "policy")

    def returns(self, envs: Sequence[str], seeds: Sequence[int | str] | None = None) -> list[str]:
        """The rollouts of all methods, where somebody plays."""
        played = [env for env in envs if self.experiment.is_played(env)]
        return self.paths("evaluation/{env}/{method}/seed{seed}/returns.csv", self.method_runs(played, "agent", seeds))

    def actions(self, envs: Sequence[str]) -> list[str]:
        """The answers of all methods to recorded actions, where nobody plays."""
        return self.paths("evaluation/{env}/{method}/seed{seed}/actions.csv", self.method_runs(envs, "scores"))

    def lam_metrics(self, envs: Sequence[str]) -> list[str]:
        """The curves of all LAMs."""
        return self.paths("lam/{env}/{lam}/seed{seed}/metrics.csv", self.lam_runs(envs))

    def policy_metrics(self, env: str) -> list[str]:
        """The curves of all cloned policies."""
        return self.paths("policies/{env}/{method}/seed{seed}/metrics.csv", self.policy_runs(env))

    def online_curves(self, envs: Sequence[str]) -> list[str]:
        """The returns in training of all that learns online."""
        return self.paths("online/{env}/{method}/seed{seed}/curve.csv", self.method_runs(envs, "online"))

    def shown_latents(self, env: str) -> list[str]:
        """The latents of the validation split by each LAM of the first seed, which stands for all."""
        runs = [run for run in self.lam_runs([env]) if run["seed"] == self.experiment.seeds[0]]
        return self.paths("latents/{env}/{lam}/seed{seed}/validation.zarr", runs)

    def compared_labels(self) -> LabelCount:
        """The budget at which methods stand side by side: of those that all methods with labels have, 64, or the first without it."""
        methods = [name for name, method in self.experiment.methods.items() if method.takes_labels]
        budgets = [self.experiment.labels_of(name) for name in methods]
        shared = [count for count in self.experiment.labels if all(count in labels for labels in budgets)]
        return 64 if 64 in shared else shared[0]

    def budgeted_methods(self, env: str) -> list[str]:
        """The methods that are given a number of labels."""
        return [name for name in self.experiment.methods_of(env) if self.experiment.methods[name].takes_labels]

    def are_compared(self) -> bool:
        """Whether two methods get the same number of labels in some environment."""
        return any(len(self.budgeted_methods(env)) > 1 for env in self.played_envs())

    def baselines(self) -> list[str]:
        """What methods are compared with: those that have no more than the labels, or the first method if there are none."""
        named = [name for env in self.experiment.envs for name in self.budgeted_methods(env)]
        return [name for name, method in self.experiment.methods.items() if method.is_baseline] or named[:1]

    def film_methods(self, env: str) -> list[str]:
        """Who plays beside the demonstrator in a film: the configuration's first method that does not learn online, and a baseline."""
        methods = {name: self.experiment.methods[name] for name in self.experiment.methods_of(env)}
        methods = {name: method for name, method in methods.items() if method.needs("online") is None}
        others = [name for name in list(methods)[1:] if methods[name].lam_name is None]
        # Those with the same labels first, then those with policies of other labels, and random last.
        ranks = {name: (not methods[name].is_baseline, methods[name].needs("policy") is None) for name in others}
        return [*list(methods)[:1], *sorted(others, key=lambda name: ranks[name])[:1]]

    def film_files(self, env: str) -> list[str]:
        """What their agents are made of beside episodes, one after the other; the first seed stands for all."""
        seed = self.experiment.seeds[0]
        found = [
            artefacts_of(self.experiment, "agent", env=env, method=method, seed=seed)
            for method in self.film_methods(env)
        ]
        return [path for artefacts in found for name, path in artefacts.items() if name != "episodes"]

    def final_results(self) -> list[str]:
        """Everything that people look at."""
        envs, experiment = self.env_runs(), self.experiment
        watched: list[Run] = [{}] if self.policy_returns() else []
        played: list[Run] = [{"env": env} for env in self.played_envs()]
        scored: list[Run] = [{}] if self.scored_envs() else []
        online = [run for run in envs if self.method_runs([run["env"]], "online")]
        with_lams = [run for run in envs if experiment.lams_of(run["env"])]
        with_actions = [run for run in with_lams if experiment.has_actions(run["env"])]
        coded = [
            {"env": env, "lam": lam}
            for env in experiment.envs
            for lam in experiment.lams_of(env)
            if experiment.lams[lam].quantizer.num_tokens and isinstance(experiment.environment(env).action, Discrete)
        ]
        drawn = {run["env"] for run in envs if self._is_drawn(run["env"])}
        return [
            *self._summary(),
            *self._action_summary(),
            *self.paths("summary/left_out.rst", [{}] if left_out(experiment) else []),
            *self.paths("summary/{env}.csv", played),
            *self.paths(
                "summary/{env}/seed{seed}.csv",
                [{**run, "seed": seed} for run in played for seed in experiment.seeds],
            ),
            *self.paths("summary/lams.csv", with_lams[:1]),
            *self.paths("summary/policy_returns.csv", watched),
            *self.paths("summary/online.csv", online[:1]),
            *self.paths("summary/sample_efficiency.csv", online[:1]),
            *self.paths(
                "plots/label_curve_{statistic}.svg",
                [{"statistic": name} for name in ("mean", "iqm", "success") if played],
            ),
            *self.paths("plots/label_curve_actions.svg", scored),
            *self.paths("plots/method_comparison.svg", played[:1]),
            *self.paths("plots/performance_profile.svg", played[:1]),
            *self.paths("plots/probability_of_improvement.svg", [{}] if self.are_compared() else []),
            *self.paths("plots/policy_returns.svg", watched),
            *self.paths("plots/online_curves.svg", online[:1]),
            *self.paths("plots/{env}/online_curves.svg", online),
            *self.paths("plots/{env}/policy_curves.svg", [run for run in envs if self.policy_runs(run["env"])]),
            *self.paths("plots/{env}/lam_curves.svg", with_lams),
            *self.paths("plots/{env}/episode_film.gif", [run for run in played if run["env"] in drawn]),
            *self.paths("plots/{env}/latent_space.svg", with_actions),
            *self.paths("plots/{env}/latent_umap.svg", with_actions),
            *self.paths("plots/{env}/{lam}/code_actions.svg", coded),
            *self.paths("plots/{env}/{lam}/film_strip.png", [run for run in coded if run["env"] in drawn]),
        ]

    def _is_drawn(self, env: str) -> bool:
        """Whether what latent action models see of an environment can be drawn: a picture, or a grid world."""
        spec = self.experiment.environment(env)
        return spec.is_grid_world or isinstance(spec.main_part, Pixels)

    def trainings(self, trained_envs: Iterable[str]) -> list[str]:
        """The folders of all trainings under the experiment's results; ``trained_envs``: those whose demonstrators learn here."""
        envs = self.experiment.envs
        return [
            *[f"experts/{env}" for env in trained_envs],
            *["lam/{env}/{lam}/seed{seed}".format(**run) for run in self.lam_runs(envs)],
            *["policies/{env}/{method}/seed{seed}".format(**run) for run in self.method_runs(envs, "policy")],
            *["online/{env}/{method}/seed{seed}".format(**run) for run in self.method_runs(envs, "online")],
        ]
