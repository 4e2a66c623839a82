"""Train one online method's policy with rewards."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "finetune_online",
        snakemake,
        environment=snakemake.params.environment,
        method=snakemake.wildcards.method,
        **{name: snakemake.params[name] for name in ("settings", "latent", "collection", "state_dir")},
        episodes=snakemake.input.episodes,
        **{name: snakemake.input.get(f"tuned_{name}") for name in ("policy", "lam")},
        logging=snakemake.config.get("logging", {}),
        experiment_dir=f"results/{snakemake.wildcards.experiment}",
        seed=int(snakemake.wildcards.seed),
        output=snakemake.output.agent,
        **{name: snakemake.output[name] for name in ("curve", "metrics")},
    )
