"""Summarise all answers to recorded actions."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.summarise_actions import summarise_actions

        run(
            summarise_actions,
            actions=snakemake.input.actions,
            output_scores=snakemake.output.scores,
            output_aggregate=snakemake.output.aggregate,
            bootstrap_samples=snakemake.params.bootstrap_samples,
        )
