"""Train one method's action decoders: one a label count and label draw."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.train_action_decoders import train_action_decoders

        run(
            train_action_decoders,
            environment=snakemake.params.environment,
            method=snakemake.wildcards.method,
            settings=snakemake.params.settings,
            labels=snakemake.params.labels,
            label_draws=snakemake.params.label_draws,
            seed=int(snakemake.wildcards.seed),
            train=snakemake.input.train,
            **{name: snakemake.input.get(name) for name in ("latents", "policy")},
            output=snakemake.output.decoders,
        )
