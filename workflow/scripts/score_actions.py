"""Compare one method's answers with recorded actions."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.score_actions import score_actions

        run(
            score_actions,
            environment=snakemake.params.environment,
            method=snakemake.wildcards.method,
            **{name: snakemake.params[name] for name in ("settings", "labels", "label_draws")},
            **{name: snakemake.input.get(name) for name in ("episodes", "policy", "decoders", "lam")},
            seed=int(snakemake.wildcards.seed),
            output=snakemake.output.actions,
        )
