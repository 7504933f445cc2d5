# Training and prediction: the jobs for a GPU.


# Where there is no network, the file can be put there by hand.
rule download_weights:
    output:
        "{weights}",
    log:
        log_of("download_weights", "{weights}"),
    benchmark:
        benchmark_of("download_weights", "{weights}")
    localrule: True
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        settings=lambda w: as_json(plan.pretrained[w.weights]),
    message:
        "Downloading {wildcards.weights}"
    shell:
        "renal download_weights --settings {params.settings:q} --output {output:q} --log {log:q}"


# On a CPU, glibc gives large blocks back to the system when they are freed, and having them zeroed
# anew costs a third of a training step at full size: the MALLOC variables keep them. Blocks of
# 256 MB and more are given back in trainings: glibc does not use a freed block for an aligned one
# of the same size, so that a heap of them outgrows the machine.


# The running state lies beside the outputs as state.pt: Snakemake deletes outputs before each
# attempt, and a state among them would never get past its first interval. Within a SLURM job training
# stops by itself before the job's time is over; the next attempt goes on from the state, so that
# attempts are no sign of too little time or memory.
rule train:
    input:
        prepared=lambda w: plan.true_inputs(
            w.method, w.stage, plan.training_batches(f"fold{w.fold}")
        ),
        weights=lambda w: plan.weights_of(w.method, w.stage),
    output:
        model=RESULTS / "{method}/{stage}/fold{fold}/model.safetensors",
        history=RESULTS / "{method}/{stage}/fold{fold}/history.csv",
        run=RESULTS / "{method}/{stage}/fold{fold}/run.json",
    log:
        log_of("train", "{method}", "{stage}", "fold{fold}"),
    benchmark:
        benchmark_of("train", "{method}", "{stage}", "fold{fold}")
    wildcard_constraints:
        method=plan.rows_with("stages"),
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.train_threads
    resources:
        gpu=lambda w: plan.training(w.method, w.stage).gpus,
        mem_mb=lambda w, attempt: plan.training_memory(
            w.method, w.stage, min(attempt, 2), on_gpu=on_gpu()
        ),
        runtime=24 * 60,
    params:
        labels=LABELS["learned"],
        code=lambda w: plan.code("train", w.method, w.stage),
        settings=lambda w: as_json(plan.training(w.method, w.stage)),
        folder=lambda w, output: Path(output.model).parent,
        weights=lambda w, input: ["--weights", input.weights] if input.weights else [],
        seed=COMPUTE.seed,
        bfloat16=BFLOAT16,
    message:
        "Training {wildcards.method}, stage {wildcards.stage}, without fold {wildcards.fold}"
    shell:
        "MALLOC_MMAP_THRESHOLD_=268435456 MALLOC_TRIM_THRESHOLD_=68719476736 renal train --prepared {input.prepared:q} --settings {params.settings:q}"
        " {params.weights:q} --seed {params.seed} {params.bfloat16}"
        " --name '{wildcards.method} {wildcards.stage} fold {wildcards.fold}'"
        " {params.labels:q} --output {params.folder:q} --threads {threads} --log {log:q}"


rule predict:
    input:
        prepared=lambda w: plan.seen_inputs(w.method, w.stage, w.group),
        models=lambda w: plan.models_for(w.method, w.stage, w.group),
    output:
        directory(RESULTS / "{method}/{stage}/prediction/{group}"),
    log:
        log_of("predict", "{method}", "{stage}", "{group}"),
    benchmark:
        benchmark_of("predict", "{method}", "{stage}", "{group}")
    wildcard_constraints:
        method=plan.rows_with("stages"),
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.predict_threads
    resources:
        gpu=1,
        mem_mb=lambda w, attempt: plan.prediction_memory(
            w.method, w.stage, w.group, attempt, on_gpu=on_gpu()
        ),
        runtime=lambda w, attempt: 4 * 60 * attempt,
    params:
        labels=LABELS["learned"],
        code=lambda w: plan.code("predict", w.method, w.stage),
        settings=lambda w: plan.prediction_settings(w.method, w.stage),
        bfloat16=BFLOAT16,
    message:
        "Predicting {wildcards.group} with {wildcards.method}, stage {wildcards.stage}"
    shell:
        "MALLOC_MMAP_THRESHOLD_=68719476736 MALLOC_TRIM_THRESHOLD_=68719476736 renal predict --prepared {input.prepared:q} --models {input.models:q}"
        " --settings {params.settings:q} {params.bfloat16}"
        " {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"
