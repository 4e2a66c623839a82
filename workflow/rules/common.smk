"""Input functions, and the part of the configuration that each stage gets.

A rule's `params` hold only what its stage depends on, so that a changed setting re-runs just the stages that it invalidates:
the code digest of the stage's modules, the static facts of its environment, and its settings without those of other stages.
Settings of logging are no params: they change no result, so scripts read them from the configuration.
"""

import os
import re
from functools import cache
from pathlib import Path

from lamflow.experiment.artefacts import artefacts_of
from lamflow.experiment.targets import Targets
from lamflow.experiment.left_out import left_out
from lamflow.runs.report import left_out as unmade_paths
from lamflow.stages.code import methods_code, stage_code

TARGETS = Targets(EXPERIMENT)


def any_of(names):
    """A wildcard constraint that allows these names; with none of them it never matches."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


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


def method_code_of(stage, part, methods=lambda wildcards: [wildcards.method], also=lambda wildcards: []):
    """The same of a stage in which methods do `part`."""

    def digest(wildcards):
        named = [EXPERIMENT.methods[name] for name in methods(wildcards)]
        return methods_code(stage, named, part, played_specs(wildcards.env), also(wildcards)).digest

    return digest


def method_settings_in(part):
    """The settings of the job's method that it reads when it does `part`."""

    def settings(wildcards):
        method = EXPERIMENT.methods[wildcards.method]
        return settings_of(method, without=method.unread(part))

    return settings


def lam_parts(wildcards):
    return EXPERIMENT.lams[wildcards.lam]


def lam_settings(wildcards):
    return settings_of(lam_parts(wildcards))


def tuned_parts(wildcards):
    """What an online method takes of the one that it tunes, and of the LAM that labels."""
    method = EXPERIMENT.methods[wildcards.method]
    tuned = EXPERIMENT.methods[method.tuned_name]
    lams = [EXPERIMENT.lams[tuned.lam_name]] if "tuned_lam" in method.needs("online") else []
    return [tuned.parts("policy"), *lams]


def tuned_settings(wildcards):
    """The method that an online one is of; what decodes it does not count."""
    tuned = EXPERIMENT.methods[EXPERIMENT.methods[wildcards.method].tuned_name]
    return settings_of(tuned, without=tuned.unread("policy"))


def tuned_agent(wildcards):
    """An online method's agent is made like the one that it tunes."""
    tuned = EXPERIMENT.methods[wildcards.method].tuned_name
    return [EXPERIMENT.methods[tuned]] if tuned else []


def lams_of_method(wildcards):
    """The LAM whose latents its decoders read."""
    name = EXPERIMENT.methods[wildcards.method].lam_name
    return [EXPERIMENT.lams[name]] if name else []


def policy_labels(wildcards):
    """Latent policies and the oracle are trained once for all label budgets."""
    return list(EXPERIMENT.labels) if EXPERIMENT.methods[wildcards.method].policy_of_labels else []


def policy_label_draws(wildcards):
    return EXPERIMENT.label_draws_of(wildcards.method) if policy_labels(wildcards) else 1


def agent_labels(wildcards):
    return EXPERIMENT.labels_of(wildcards.method)


def agent_label_draws(wildcards):
    return EXPERIMENT.label_draws_of(wildcards.method)


def film_methods(wildcards):
    return TARGETS.film_methods(wildcards.env)


def film_agents(wildcards):
    return [
        {
            "method": name,
            "settings": settings_of(EXPERIMENT.methods[name], without=EXPERIMENT.methods[name].unread("agent")),
            "labels": EXPERIMENT.labels_of(name),
            "label_draws": EXPERIMENT.label_draws_of(name),
        }
        for name in film_methods(wildcards)
    ]


# Input functions -----------------------------------------------------------------------------------------------------


def inputs_of(part):
    """What the job's method needs when it does `part`."""
    return lambda wildcards: artefacts_of(
        EXPERIMENT, part, env=wildcards.env, method=wildcards.method, seed=wildcards.seed
    )


def shown_lam(wildcards):
    """The LAM of the first seed stands for all in what shows a single one."""
    return f"results/{{experiment}}/lam/{{env}}/{{lam}}/seed{EXPERIMENT.seeds[0]}/model.safetensors"


def shown_latents(wildcards):
    """Its latents of the validation split."""
    return f"results/{{experiment}}/latents/{{env}}/{{lam}}/seed{EXPERIMENT.seeds[0]}/validation.zarr"


def stores_of(split, envs=None):
    """A split of every environment in which agents play, or of some environments."""
    names = TARGETS.played_envs() if envs is None else envs
    return TARGETS.paths(f"data/{{env}}/{split}.zarr", [{"env": env} for env in names])


def published_table():
    """Returns that others have published, drawn beside ours."""
    return os.path.relpath(ROOT / "config" / "published" / "lapo_returns.csv")


def final_results(wildcards):
    return TARGETS.final_results()


def made_results(wildcards):
    """Those of them that are there, without what the last run could not make: what stands there is of an earlier one."""
    unmade = unmade_paths(Path("results", EXPERIMENT.experiment))
    return [path for path in final_results(wildcards) if os.path.exists(path) and path not in unmade]


def tracked_trainings(wildcards):
    """The folders of the trainings under the experiment's results."""
    return TARGETS.trainings(env for env in envs_from("expert") if is_trained(env))


def tracked_results(wildcards):
    """What says what was sent, if anything is to be."""
    return TARGETS.paths("wandb/experiment.json", [{}] if EXPERIMENT.logging.wandb else [])
