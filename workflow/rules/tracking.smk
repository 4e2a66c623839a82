"""Weights & Biases, where the configuration asks for it: tables and figures as one run; trainings log themselves."""


# Beside the driver, where there is a network if there is one.
rule log_experiment:
    input:
        results=final_results,
    output:
        sent="results/{experiment}/wandb/experiment.json",
    log:
        "results/{experiment}/logs/log_experiment.log",
    benchmark:
        "results/{experiment}/benchmarks/log_experiment.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=settings_of(EXPERIMENT, without={"logging"}),
        trainings=tracked_trainings,
        code=code_of("lamflow.stages.log_experiment"),
    message:
        "Tables and figures of {wildcards.experiment} to Weights & Biases"
    script:
        "../scripts/log_experiment.py"
