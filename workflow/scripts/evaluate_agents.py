"""Roll one method's agents out."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.evaluate_agents import evaluate_agents

        run(
            evaluate_agents,
            environment=snakemake.params.environment,
            method=snakemake.wildcards.method,
            **{
                name: snakemake.params[name]
                for name in ("settings", "evaluation", "collection", "labels", "label_draws")
            },
            **{name: snakemake.input.get(name) for name in ("episodes", "policy", "decoders", "online_agent", "train")},
            seed=int(snakemake.wildcards.seed),
            output=snakemake.output.returns,
        )
