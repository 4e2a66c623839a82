"""lamflow; the workflow itself stands in workflow/, where other workflows and Snakemake's catalog look for it."""


include: "workflow/Snakefile"


# Snakemake forgets the target of a file that another one includes.
workflow.default_target = "all"
