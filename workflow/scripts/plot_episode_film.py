"""Write the film of demonstrator and agents on one test level."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_episode_film",
        snakemake,
        environment=snakemake.params.environment,
        **{name: snakemake.params[name] for name in ("agents", "shown_labels", "action_selection", "seed")},
        episodes=snakemake.input.episodes,
        files=snakemake.input.get("files", []),
        output=snakemake.output.film,
    )
