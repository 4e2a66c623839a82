"""Train one online method's policy with rewards."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.finetune_online import finetune_online

        run(
            finetune_online,
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
