"""Write down what the experiment leaves out."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.note_left_out import note_left_out

        run(
            note_left_out,
            texts=snakemake.params.texts,
            output=snakemake.output.texts,
        )
