"""Input functions, and the part of the configuration that each stage gets.

A rule's `params` hold only what its stage depends on, so that a changed setting re-runs just the stages that it invalidates:
the code digest of the stage's modules, the static facts of its environment, and its settings without those of other stages.
Settings of logging are no params: they change no result, so scripts read them from the configuration.
"""

import os
import re
from functools import cache
from pathlib import Path

from lamflow.runs.report import left_out
from lamflow.stages.code import stage_code

DATA_SEED = 0
"""Seed of the demonstrator and its episodes, which all seeds of the learners share."""


def any_of(names):
    """A wildcard constraint that allows these names; with none of them it never matches."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


def methods_of_kind(*kinds):
    return [name for name, method in EXPERIMENT.methods.items() if method.kind in kinds]


def envs_from(source):
    """The environments whose episodes come from there; XLand's always come from its demonstrators."""
    chosen = EXPERIMENT.collection.source
    return [
        env
        for env in EXPERIMENT.envs
        if source == (chosen if EXPERIMENT.environment(env).family == "procgen" else "expert")
    ]


def paths_of(pattern, runs):
    """The paths under this experiment's results that `pattern` gives for each of `runs`, which hold its values by name."""
    return [f"results/{EXPERIMENT.experiment}/{pattern.format(**run)}" for run in runs]


# What a stage's params hold of the configuration ---------------------------------------------------------------------


def settings_of(group, without=()):
    """A settings group as a plain dict, without the keys that its stage does not read."""
    return {key: value for key, value in group.model_dump(mode="json").items() if key not in without}


@cache
def facts_of(env):
    return EXPERIMENT.environment(env).facts()


def environment_facts(wildcards):
    """What the stage is told of its environment: no stage asks for it by name, or a new environment would re-run them all."""
    return facts_of(wildcards.env)


@cache
def code_of(stage, parts=None):
    """The digest of a job's code as a param: that of its stage, of its environment's family, and of the components that `parts`, a function
    of wildcards, gives or names in its settings. A process that runs one job digests one stage."""

    def digest(wildcards):
        env = getattr(wildcards, "env", None)
        return stage_code(
            stage, EXPERIMENT.environment(env) if env else None, parts(wildcards) if parts else None
        ).digest

    return digest


def parts_of(group, without=()):
    """What `settings_of` dumps."""
    return {name: getattr(group, name) for name in type(group).model_fields if name not in without}


@cache
def shipped_expert(env):
    """The expert file that comes with the checkout, or None where there is none or the configuration asks for training."""
    path = Path(workflow.basedir, "resources", "experts", env, "expert.safetensors")
    procgen = EXPERIMENT.environment(env).family == "procgen"
    return path if procgen and EXPERIMENT.pixel_expert.source == "shipped" and path.exists() else None


def trained_on_pixels(env):
    """Whether the environment's expert is Procgen's PPO, the one demonstrator whose training wants a GPU."""
    return EXPERIMENT.environment(env).family == "procgen" and not shipped_expert(env)


def expert_settings(wildcards):
    """Planners and shipped experts are not trained, so no setting of PPO counts for them."""
    spec = EXPERIMENT.environment(wildcards.env)
    if spec.family == "procgen":
        return {} if shipped_expert(wildcards.env) else settings_of(EXPERIMENT.pixel_expert, without={"source"})
    return {} if spec.demonstrator == "planner" else settings_of(EXPERIMENT.expert)


def collection_threads(wildcards):
    """Procgen's simulator steps one half of the episodes while the expert acts in the other."""
    return 2 if EXPERIMENT.environment(wildcards.env).family == "procgen" else 1


def collection_settings(wildcards):
    """The numbers of episodes of other splits than the job's own do not count, nor that of rulesets where there are none."""
    split = getattr(wildcards, "split", "test")
    unread = {f"{other}_episodes" for other in ("train", "validation", "test") if other != split}
    spec = EXPERIMENT.environment(wildcards.env)
    if not spec.uses_rulesets:
        unread.add("num_rulesets")
    if spec.family != "procgen":
        unread |= {"sticky", "source", "levels"}
    return settings_of(EXPERIMENT.collection, without=unread)


def lam_parts(wildcards):
    return EXPERIMENT.lams[wildcards.lam]


def lam_settings(wildcards):
    return settings_of(lam_parts(wildcards))


UNREAD_BY_DECODERS = {"policy", "mixture", "flow", "label_draws", "action_selection"}
UNREAD_BY_POLICIES = {"decoder", "inverse_dynamics", "label_draws", "action_selection"}


def decoder_parts(wildcards):
    """Decoders that see the observation see it by the features of the policy's network."""
    method = EXPERIMENT.methods[wildcards.method]
    observing = method.kind == "latent" and method.decoder.sees_observation
    return parts_of(method, without=UNREAD_BY_DECODERS - ({"policy"} if observing else set()))


def decoder_settings(wildcards):
    return settings_of(EXPERIMENT.methods[wildcards.method], without=UNREAD_BY_DECODERS)


def policy_parts(wildcards):
    """VPT's policies are trained on what its inverse dynamics model labels."""
    method = EXPERIMENT.methods[wildcards.method]
    return parts_of(method, without=UNREAD_BY_POLICIES - ({"inverse_dynamics"} if method.kind == "vpt" else set()))


def policy_settings(wildcards):
    return settings_of(EXPERIMENT.methods[wildcards.method], without=UNREAD_BY_POLICIES)


def online_parts(wildcards):
    """The online method, the one that it tunes, and the LAM that labels."""
    method = EXPERIMENT.methods[wildcards.method]
    tuned = EXPERIMENT.methods[method.of]
    lams = [EXPERIMENT.lams[tuned.lam]] if method.variant == "rl_sl" else []
    return [method, parts_of(tuned, without={"decoder"}), *lams]


def online_settings(wildcards):
    """A decoder is refitted by one variant only."""
    method = EXPERIMENT.methods[wildcards.method]
    unread = set() if method.variant == "rl_sl" else {"decoder"}
    return settings_of(method, without={"action_selection", *unread})


def tuned_settings(wildcards):
    """The latent method that an online one is of; its own decoder does not count."""
    tuned = EXPERIMENT.methods[EXPERIMENT.methods[wildcards.method].of]
    return settings_of(tuned, without={"decoder", "action_selection"})


def level_settings(wildcards):
    """What says on which levels agents play."""
    collection, spec = EXPERIMENT.collection, EXPERIMENT.environment(wildcards.env)
    if spec.family == "procgen":
        return {"levels": collection.levels}
    return {"num_rulesets": collection.num_rulesets} if spec.uses_rulesets else {}


def online_threads(wildcards):
    """Threads of Procgen's simulator, where a GPU learns; on a core all take turns."""
    return 8 if EXPERIMENT.environment(wildcards.env).family == "procgen" else 1


def policy_labels(wildcards):
    """Latent policies and the oracle are trained once for all label budgets."""
    return list(EXPERIMENT.labels) if EXPERIMENT.methods[wildcards.method].kind in {"bc", "vpt"} else []


def policy_label_draws(wildcards):
    return EXPERIMENT.label_draws_of(wildcards.method) if policy_labels(wildcards) else 1


def agent_labels(wildcards):
    return EXPERIMENT.labels_of(wildcards.method)


def agent_label_draws(wildcards):
    return EXPERIMENT.label_draws_of(wildcards.method)


def agent_parts(wildcards):
    """All of the method: an online one's agent is made like the one that it tunes."""
    method = EXPERIMENT.methods[wildcards.method]
    return [method, EXPERIMENT.methods[method.of]] if method.kind == "online" else method


def agent_settings(wildcards):
    """The whole method: an agent is policy and decoder. How many label draws there are is a param of its own."""
    return settings_of(EXPERIMENT.methods[wildcards.method], without={"label_draws"})


def rollout_settings(wildcards):
    return settings_of(EXPERIMENT.evaluation, without={"bootstrap_samples"})


# Input functions -----------------------------------------------------------------------------------------------------


def expert_inputs(wildcards):
    shipped = shipped_expert(wildcards.env)
    return {"shipped": os.path.relpath(shipped)} if shipped else {}


def labelled_inputs(wildcards):
    """Episodes, and the latents of the method's LAM; VPT's decoders are inverse dynamics models on frames."""
    inputs = {"train": "results/{experiment}/data/{env}/train.zarr"}
    method = EXPERIMENT.methods[wildcards.method]
    if method.kind == "latent":
        inputs["latents"] = f"results/{{experiment}}/latents/{{env}}/{method.lam}/seed{{seed}}/train.zarr"
    return inputs


def decoder_inputs(wildcards):
    """What labels are read from, and the trained policy where decoders see its features of the observation."""
    inputs, method = labelled_inputs(wildcards), EXPERIMENT.methods[wildcards.method]
    if method.kind == "latent" and method.decoder.sees_observation:
        inputs["policy"] = "results/{experiment}/policies/{env}/{method}/seed{seed}/policy.safetensors"
    return inputs


def policy_inputs(wildcards):
    """Episodes, and what the policy imitates beside their actions: latents, or the labels of VPT's decoders."""
    inputs = labelled_inputs(wildcards)
    inputs["validation"] = "results/{experiment}/data/{env}/validation.zarr"
    if "latents" in inputs:
        inputs["validation_latents"] = inputs["latents"].replace("train.zarr", "validation.zarr")
    if EXPERIMENT.methods[wildcards.method].kind == "vpt":
        inputs["decoders"] = "results/{experiment}/decoders/{env}/{method}/seed{seed}/decoders.safetensors"
    return inputs


def online_inputs(wildcards):
    """The latent policy that is fine-tuned, and the LAM that labels; the store has the returns of random and demonstrator."""
    method = EXPERIMENT.methods[wildcards.method]
    inputs = {"episodes": "results/{experiment}/data/{env}/test.zarr"}
    if method.variant != "scratch":
        inputs["policy"] = f"results/{{experiment}}/policies/{{env}}/{method.of}/seed{{seed}}/policy.safetensors"
    if method.variant == "rl_sl":
        lam = EXPERIMENT.methods[method.of].lam
        inputs["lam"] = f"results/{{experiment}}/lam/{{env}}/{lam}/seed{{seed}}/model.safetensors"
    return inputs


def agent_inputs(wildcards):
    """The policy and, where it acts in latents, its decoders; random needs nothing but the reference returns in the store."""
    kind = EXPERIMENT.methods[wildcards.method].kind
    inputs = {"episodes": "results/{experiment}/data/{env}/test.zarr"}
    if kind == "online":
        inputs["policy"] = "results/{experiment}/online/{env}/{method}/seed{seed}/agent.safetensors"
    elif kind != "random":
        inputs["policy"] = "results/{experiment}/policies/{env}/{method}/seed{seed}/policy.safetensors"
    if kind == "latent":
        inputs["decoders"] = "results/{experiment}/decoders/{env}/{method}/seed{seed}/decoders.safetensors"
    return inputs


def expert_cards(wildcards):
    procgen = [{"env": env} for env in EXPERIMENT.envs if EXPERIMENT.environment(env).family == "procgen"]
    return paths_of("experts/{env}/card.md", procgen)


def lam_runs(envs):
    """Environment, LAM and seed of each LAM that some method needs on `envs`."""
    return [
        {"env": env, "lam": lam, "seed": seed}
        for env in envs
        for lam in EXPERIMENT.lams_of(env)
        for seed in EXPERIMENT.seeds
    ]


def policy_runs(env):
    """Method and seed of each cloned policy on `env`; random has none, and online methods have curves of their own."""
    methods = [name for name in EXPERIMENT.methods_of(env) if name not in methods_of_kind("random", "online")]
    return [{"env": env, "method": method, "seed": seed} for method in methods for seed in EXPERIMENT.seeds]


def agent_returns(envs, seeds):
    runs = [
        {"env": env, "method": method, "seed": seed}
        for env in envs
        for method in EXPERIMENT.methods_of(env)
        for seed in seeds
    ]
    return paths_of("evaluation/{env}/{method}/seed{seed}/returns.csv", runs)


def all_returns(wildcards):
    return agent_returns(EXPERIMENT.envs, EXPERIMENT.seeds)


def env_returns(wildcards):
    return agent_returns([wildcards.env], EXPERIMENT.seeds)


def seed_returns(wildcards):
    return agent_returns([wildcards.env], [wildcards.seed])


def lam_metrics(wildcards):
    return paths_of("lam/{env}/{lam}/seed{seed}/metrics.csv", lam_runs(EXPERIMENT.envs))


def env_lam_runs(wildcards):
    return lam_runs([wildcards.env])


def env_lam_metrics(wildcards):
    return paths_of("lam/{env}/{lam}/seed{seed}/metrics.csv", lam_runs([wildcards.env]))


def env_policy_runs(wildcards):
    return policy_runs(wildcards.env)


def env_policy_metrics(wildcards):
    return paths_of("policies/{env}/{method}/seed{seed}/metrics.csv", policy_runs(wildcards.env))


def shown_lam(wildcards):
    """The LAM of the first seed stands for all in what shows a single one."""
    return f"results/{{experiment}}/lam/{{env}}/{{lam}}/seed{EXPERIMENT.seeds[0]}/model.safetensors"


def shown_latents(wildcards):
    """Its latents of the validation split."""
    return f"results/{{experiment}}/latents/{{env}}/{{lam}}/seed{EXPERIMENT.seeds[0]}/validation.zarr"


def env_latents(wildcards):
    runs = [run for run in lam_runs([wildcards.env]) if run["seed"] == EXPERIMENT.seeds[0]]
    return paths_of("latents/{env}/{lam}/seed{seed}/validation.zarr", runs)


def train_stores(wildcards):
    """Their mean episode lengths place budgets in trajectories on an axis of transitions."""
    return paths_of("data/{env}/train.zarr", [{"env": env} for env in EXPERIMENT.envs])


def test_stores(wildcards):
    """What summaries read of the references: how well they were measured."""
    return paths_of("data/{env}/test.zarr", [{"env": env} for env in EXPERIMENT.envs])


def env_test_store(wildcards):
    return paths_of("data/{env}/test.zarr", [{"env": wildcards.env}])


def compared_labels():
    """The budget at which methods stand side by side: of those that all methods with labels have, 64, or the first without it."""
    budgets = [EXPERIMENT.labels_of(name) for name in methods_of_kind("latent", "bc", "vpt")]
    shared = [count for count in EXPERIMENT.labels if all(count in labels for labels in budgets)]
    return 64 if 64 in shared else shared[0]


def budgeted_methods(env):
    """The methods that are given a number of labels."""
    return [name for name in EXPERIMENT.methods_of(env) if EXPERIMENT.methods[name].kind in {"latent", "bc", "vpt"}]


def are_compared():
    """Whether two methods get the same number of labels in some environment."""
    return any(len(budgeted_methods(env)) > 1 for env in EXPERIMENT.envs)


def baseline_methods():
    """What methods are compared with: cloning and inverse dynamics on the labels alone, or the first method if there are none."""
    named = [name for env in EXPERIMENT.envs for name in budgeted_methods(env)]
    return methods_of_kind("bc", "vpt") or named[:1]


def published_table():
    """Returns that others have published, drawn beside ours."""
    return os.path.relpath(Path(workflow.basedir, "config", "published", "lapo_returns.csv"))


def online_runs(envs):
    """Environment, method and seed of each training online."""
    online = methods_of_kind("online")
    return [
        {"env": env, "method": method, "seed": seed}
        for env in envs
        for method in EXPERIMENT.methods_of(env)
        if method in online
        for seed in EXPERIMENT.seeds
    ]


def online_curves(wildcards):
    return paths_of("online/{env}/{method}/seed{seed}/curve.csv", online_runs(EXPERIMENT.envs))


def env_online_curves(wildcards):
    return paths_of("online/{env}/{method}/seed{seed}/curve.csv", online_runs([wildcards.env]))


def film_methods(env):
    """Who plays beside the demonstrator in an environment's film: the configuration's first offline method, and a baseline."""
    methods = [name for name in EXPERIMENT.methods_of(env) if name not in methods_of_kind("online")]
    kinds = ("bc", "vpt", "oracle_bc", "random")
    baselines = [name for kind in kinds for name in methods[1:] if EXPERIMENT.methods[name].kind == kind]
    return [*methods[:1], *baselines[:1]]


def film_agents(wildcards):
    return [
        {
            "method": name,
            "settings": settings_of(EXPERIMENT.methods[name], without={"label_draws"}),
            "labels": EXPERIMENT.labels_of(name),
            "label_draws": EXPERIMENT.label_draws_of(name),
        }
        for name in film_methods(wildcards.env)
    ]


def film_parts(wildcards):
    return [EXPERIMENT.methods[name] for name in film_methods(wildcards.env)]


def film_inputs(wildcards):
    """The demonstrator's test episodes, and the agents' files in the order of `film_agents`; the first seed stands for all."""
    runs = [{"env": wildcards.env, "method": name, "seed": EXPERIMENT.seeds[0]} for name in film_methods(wildcards.env)]
    acting = [run for run in runs if run["method"] not in methods_of_kind("random", "online")]
    decoding = [run for run in runs if run["method"] in methods_of_kind("latent")]
    return {
        "episodes": "results/{experiment}/data/{env}/test.zarr",
        "policies": paths_of("policies/{env}/{method}/seed{seed}/policy.safetensors", acting),
        "decoders": paths_of("decoders/{env}/{method}/seed{seed}/decoders.safetensors", decoding),
    }


def final_results(wildcards):
    """Everything that people look at."""
    runs = [dict(run, seed=seed) for run in ({"env": env} for env in EXPERIMENT.envs) for seed in EXPERIMENT.seeds]
    envs = [{"env": env} for env in EXPERIMENT.envs]
    online = [run for run in envs if online_runs([run["env"]])]
    tables = ("returns", "aggregate", "improvement", "differences", "profile")
    with_lams = [run for run in envs if EXPERIMENT.lams_of(run["env"])]
    coded = [
        {"env": env, "lam": lam}
        for env in EXPERIMENT.envs
        for lam in EXPERIMENT.lams_of(env)
        if EXPERIMENT.lams[lam].quantizer.num_tokens
    ]
    return [
        *paths_of("summary/{table}.csv", [{"table": table} for table in tables]),
        *paths_of("summary/table.{suffix}", [{"suffix": suffix} for suffix in ("csv", "md", "tex")]),
        *paths_of("summary/{env}.csv", envs),
        *paths_of("summary/{env}/seed{seed}.csv", runs),
        *paths_of("summary/lams.csv", with_lams[:1]),
        *paths_of("summary/online.csv", online[:1]),
        *paths_of("summary/sample_efficiency.csv", online[:1]),
        *paths_of("plots/label_curve_{statistic}.svg", [{"statistic": name} for name in ("mean", "iqm", "success")]),
        *paths_of("plots/method_comparison.svg", [{}]),
        *paths_of("plots/performance_profile.svg", [{}]),
        *paths_of("plots/probability_of_improvement.svg", [{}] if are_compared() else []),
        *paths_of("plots/online_curves.svg", online[:1]),
        *paths_of("plots/{env}/online_curves.svg", online),
        *paths_of("plots/{env}/policy_curves.svg", [run for run in envs if policy_runs(run["env"])]),
        *paths_of("plots/{env}/lam_curves.svg", with_lams),
        *paths_of("plots/{env}/episode_film.gif", envs),
        *paths_of("plots/{env}/latent_space.svg", with_lams),
        *paths_of("plots/{env}/latent_umap.svg", with_lams),
        *paths_of("plots/{env}/{lam}/code_actions.svg", coded),
        *paths_of("plots/{env}/{lam}/film_strip.png", coded),
    ]


def made_results(wildcards):
    """Those of them that are there, without what the last run could not make: what stands there is of an earlier one."""
    unmade = left_out(Path("results", EXPERIMENT.experiment))
    return [path for path in final_results(wildcards) if os.path.exists(path) and path not in unmade]


def is_trained(env):
    """Whether the environment's demonstrator learns here; planners and shipped experts do not."""
    spec = EXPERIMENT.environment(env)
    return trained_on_pixels(env) if spec.family == "procgen" else spec.demonstrator == "ppo"


def tracked_trainings(wildcards):
    """The folders of the trainings under the experiment's results."""
    return [
        *[f"experts/{env}" for env in envs_from("expert") if is_trained(env)],
        *["lam/{env}/{lam}/seed{seed}".format(**run) for run in lam_runs(EXPERIMENT.envs)],
        *["policies/{env}/{method}/seed{seed}".format(**run) for env in EXPERIMENT.envs for run in policy_runs(env)],
        *["online/{env}/{method}/seed{seed}".format(**run) for run in online_runs(EXPERIMENT.envs)],
    ]


def tracked_results(wildcards):
    """What says what was sent, if anything is to be."""
    return paths_of("wandb/experiment.json", [{}] if EXPERIMENT.logging.wandb else [])
