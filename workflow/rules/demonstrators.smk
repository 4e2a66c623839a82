"""Where episodes come from: which demonstrator an environment has, and what it and the collection of its episodes read."""

DATA_SEED = 0
"""Seed of the demonstrator and its episodes, which all seeds of the learners share."""


def envs_from(source):
    """The environments whose episodes come from there; XLand's always come from its demonstrators, those with recordings from these,
    and those of environments that are made of others from these."""
    return [env for env in EXPERIMENT.simulated_envs if source == source_of(EXPERIMENT.environment(env))]


def source_of(spec):
    if spec.demonstrator == "recorded":
        return "recorded"
    return EXPERIMENT.collection.source if spec.family == "procgen" else "expert"


@cache
def shipped_expert(env):
    """The expert file that comes with the checkout, or None where there is none or the configuration asks for training."""
    path = ROOT / "resources" / "experts" / env / "expert.safetensors"
    procgen = EXPERIMENT.environment(env).family == "procgen"
    return path if procgen and EXPERIMENT.pixel_expert.source == "shipped" and path.exists() else None


def is_trained(env):
    """Whether the environment's demonstrator learns here; planners, shipped experts and policies of users do not."""
    return EXPERIMENT.environment(env).demonstrator == "ppo" and not shipped_expert(env)


def trained_on_pixels(env):
    """Whether PPO over pixels learns here, the one demonstrator whose training wants a GPU."""
    return is_trained(env) and EXPERIMENT.environment(env).view == "pixels"


def expert_settings(wildcards):
    """Who is not trained has no setting of PPO."""
    if trained_on_pixels(wildcards.env):
        return settings_of(EXPERIMENT.pixel_expert, without={"source"})
    grid_world = EXPERIMENT.environment(wildcards.env).is_grid_world
    return (
        settings_of(EXPERIMENT.expert if grid_world else EXPERIMENT.vector_expert) if is_trained(wildcards.env) else {}
    )


def expert_inputs(wildcards):
    shipped = shipped_expert(wildcards.env)
    return {"shipped": os.path.relpath(shipped)} if shipped else {}


def expert_cards(wildcards):
    procgen = [{"env": env} for env in EXPERIMENT.simulated_envs if EXPERIMENT.environment(env).family == "procgen"]
    return TARGETS.paths("experts/{env}/card.md", procgen)


def collection_threads(wildcards):
    """Procgen's simulator steps one half of the episodes while the expert acts in the other."""
    return 2 if EXPERIMENT.environment(wildcards.env).family == "procgen" else 1


def played_specs(env):
    """The environments in which an environment's agents play."""
    return [EXPERIMENT.environment(name) for name in EXPERIMENT.stores_behind(env, "test")]


def member_stores(wildcards):
    """What a split of an environment that is made of others joins."""
    members = EXPERIMENT.stores_behind(wildcards.env, wildcards.split)
    return TARGETS.paths(f"data/{{env}}/{wildcards.split}.zarr", [{"env": env} for env in members])


def member_shares(wildcards):
    """How much learners see of each; nobody learns from test."""
    return None if wildcards.split == "test" else EXPERIMENT.shares_of(wildcards.env)


def collection_settings(wildcards):
    """The numbers of episodes of other splits than the job's own do not count, nor what the environment has not."""
    split = getattr(wildcards, "split", "test")
    unread = {f"{other}_episodes" for other in ("train", "validation", "test") if other != split}
    specs = played_specs(wildcards.env)
    if not any(spec.uses_rulesets for spec in specs):
        unread.add("num_rulesets")
    if not any(spec.family == "procgen" for spec in specs):
        unread |= {"sticky", "source", "levels"}
    if not any(spec.action.kind == "box" for spec in specs):
        unread.add("noise")
    return settings_of(EXPERIMENT.collection, without=unread)


def level_settings(wildcards):
    """What says on which levels agents play."""
    collection, spec = EXPERIMENT.collection, EXPERIMENT.environment(wildcards.env)
    if spec.family == "procgen":
        return {"levels": collection.levels}
    return {"num_rulesets": collection.num_rulesets} if spec.uses_rulesets else {}


def online_threads(wildcards):
    """Threads of Procgen's simulator, where a GPU learns; on a core all take turns."""
    return 8 if EXPERIMENT.environment(wildcards.env).family == "procgen" else 1
