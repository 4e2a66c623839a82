"""Write the film of demonstrator and agents on one test level."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_episode_film import plot_episode_film

        run(
            plot_episode_film,
            environment=snakemake.params.environment,
            **{name: snakemake.params[name] for name in ("agents", "shown_labels", "action_selection", "seed")},
            episodes=snakemake.input.episodes,
            files=snakemake.input.get("files", []),
            output=snakemake.output.film,
        )
