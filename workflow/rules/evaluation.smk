"""Stop 7: rollouts on held-out levels."""


rule evaluate_agents:
    input:
        unpack(inputs_of("agent")),
        unpack(demonstrated_levels),
    output:
        returns="results/{experiment}/evaluation/{env}/{method}/seed{seed}/returns.csv",
    log:
        "results/{experiment}/logs/evaluate_agents/{env}/{method}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/evaluate_agents/{env}/{method}/seed{seed}.jsonl"
    conda:
        "../../envs/simulation.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=1,
    params:
        settings=method_settings_in("agent"),
        evaluation=rollout_settings,
        collection=collection_settings,
        labels=agent_labels,
        label_draws=agent_label_draws,
        environment=environment_facts,
        code=method_code_of("lamflow.stages.evaluate_agents", "agent", also=tuned_agent),
    message:
        "Rollouts of {wildcards.method} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate_agents.py"
