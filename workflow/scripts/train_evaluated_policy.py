"""Train one method's policy, which plays validation levels meanwhile."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake, processes=snakemake.params.devices) as run:
        from lamflow.stages.train_evaluated_policy import train_evaluated_policy

        run(
            train_evaluated_policy,
            method=snakemake.wildcards.method,
            **{name: snakemake.params[name] for name in ("environment", "settings", "labels", "label_draws")},
            **{name: snakemake.params[name] for name in ("agent", "agent_labels", "agent_label_draws", "state_dir")},
            **{name: snakemake.params[name] for name in ("evaluation", "collection")},
            **{name: snakemake.input.get(name) for name in ("train", "validation", "latents", "episodes")},
            **{name: snakemake.input.get(name) for name in ("validation_latents", "decoders")},
            logging=snakemake.config.get("logging", {}),
            experiment_dir=f"results/{snakemake.wildcards.experiment}",
            seed=int(snakemake.wildcards.seed),
            output=snakemake.output.policy,
            metrics=snakemake.output.metrics,
            curve=snakemake.output.curve,
        )
