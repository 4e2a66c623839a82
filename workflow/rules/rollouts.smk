"""Params and inputs of what lets agents play: when they are trained, and while they are."""


def rollout_settings(wildcards):
    return settings_of(EXPERIMENT.evaluation, without={"bootstrap_samples", "during_training"})


def training_rollouts(wildcards):
    return settings_of(EXPERIMENT.evaluation, without={"bootstrap_samples", "splits"})


def inputs_of_evaluated(wildcards):
    """What a policy is trained on, and what else its agents need while it trains."""
    agent = inputs_of("agent")(wildcards)
    return {**{name: path for name, path in agent.items() if name != "policy"}, **inputs_of("policy")(wildcards)}


def demonstrated_levels(wildcards):
    """The store whose levels are played beside those of the test split."""
    played = "train" in EXPERIMENT.evaluation.splits
    return {"train": "results/{experiment}/data/{env}/train.zarr".format(**wildcards)} if played else {}
