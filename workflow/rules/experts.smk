"""Stop 1: demonstrators."""


rule train_expert:
    output:
        expert="results/{experiment}/experts/{env}/expert.safetensors",
    log:
        "results/{experiment}/logs/train_expert/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/train_expert/{env}.jsonl"
    conda:
        "../../envs/simulation.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        settings=expert_settings,
        seed=DATA_SEED,
        environment=environment_facts,
        code=code_digest("lamflow.stages.train_expert"),
    message:
        "Demonstrator of {wildcards.env}"
    script:
        "../scripts/train_expert.py"
