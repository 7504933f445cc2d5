# From the scanner's voxels to what a stage sees. A batch of cases is one job.
rule crop_body:
    input:
        checked=RESULTS / "cases/{batch}.json",
    output:
        RESULTS / "body/{hash}/{batch}.json",
    log:
        log_of("crop_body", "{hash}", "{batch}"),
    benchmark:
        benchmark_of("crop_body", "{hash}", "{batch}")
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory([w.batch], threads, attempt),
        runtime=lambda w, attempt: 30 * attempt,
        files=FILES,
    params:
        code=plan.code("crop_body"),
        settings=lambda w: as_json(plan.bodies[w.hash]),
    message:
        "Finding the body in {wildcards.batch}"
    shell:
        "renal crop_body --files {resources.files:q} --checked {input.checked:q}"
        " --settings {params.settings:q}"
        " --output {output:q} --threads {threads} --log {log:q}"


rule resample:
    input:
        checked=RESULTS / "cases/{batch}.json",
        boxes=lambda w: plan.body_boxes(w.grid, w.batch),
    output:
        directory(RESULTS / "resampled/{grid}/{batch}"),
    log:
        log_of("resample", "{grid}", "{batch}"),
    benchmark:
        benchmark_of("resample", "{grid}", "{batch}")
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory([w.batch], threads, attempt),
        runtime=lambda w, attempt: 30 * attempt,
        files=FILES,
    params:
        labels=LABELS["learned"],
        code=plan.code("resample"),
        settings=lambda w: as_json(plan.grids[w.grid]),
        boxes=lambda w, input: ["--boxes", input.boxes] if input.boxes else [],
    message:
        "Resampling {wildcards.batch} to {wildcards.grid}"
    shell:
        "renal resample --files {resources.files:q} --checked {input.checked:q}"
        " {params.boxes:q} --settings {params.settings:q}"
        " {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"


rule window_normalize:
    input:
        source=RESULTS / "resampled/{grid}/{batch}",
    output:
        directory(RESULTS / "normalized/{grid}/{hash}/{batch}"),
    log:
        log_of("window_normalize", "{grid}", "{hash}", "{batch}"),
    benchmark:
        benchmark_of("window_normalize", "{grid}", "{hash}", "{batch}")
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory([w.batch], threads, attempt),
        runtime=lambda w, attempt: 30 * attempt,
    params:
        code=plan.code("window_normalize"),
        settings=lambda w: as_json(plan.images[w.grid, w.hash]),
    message:
        "Windowing and normalising {wildcards.batch}"
    shell:
        "renal window_normalize --source {input.source:q} --settings {params.settings:q}"
        " --output {output:q} --threads {threads} --log {log:q}"


# Regions around the true kidneys, to train on: made without waiting for the earlier stage.
rule crop_true_roi:
    input:
        checked=RESULTS / "cases/{batch}.json",
    output:
        directory(RESULTS / "true_roi/{region}/{batch}"),
    log:
        log_of("crop_true_roi", "{region}", "{batch}"),
    benchmark:
        benchmark_of("crop_true_roi", "{region}", "{batch}")
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory([w.batch], threads, attempt),
        runtime=lambda w, attempt: 30 * attempt,
        files=FILES,
    params:
        labels=LABELS["learned"],
        code=plan.code("crop_true_roi"),
        settings=lambda w: as_json(plan.regions[w.region]),
    message:
        "Cropping {wildcards.batch} to the true regions"
    shell:
        "renal crop_roi --files {resources.files:q} --checked {input.checked:q}"
        " --settings {params.settings:q}"
        " {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"


# Regions that a stage found, for the next one to predict on.
rule crop_roi:
    input:
        checked=lambda w: plan.checked(plan.groups[w.group]),
        prediction=RESULTS / "{method}/{stage}/prediction/{group}",
    output:
        directory(RESULTS / "{method}/{stage}/roi/{region}/{group}"),
    log:
        log_of("crop_roi", "{method}", "{stage}", "{region}", "{group}"),
    benchmark:
        benchmark_of("crop_roi", "{method}", "{stage}", "{region}", "{group}")
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory(
            plan.groups[w.group], threads, attempt
        ),
        runtime=lambda w, attempt: 60 * attempt,
        files=FILES,
    params:
        code=plan.code("crop_roi"),
        settings=lambda w: as_json(plan.regions[w.region]),
    message:
        "Cropping {wildcards.group} to the regions that {wildcards.method} found"
    shell:
        "renal crop_roi --files {resources.files:q} --checked {input.checked:q}"
        " --prediction {input.prediction:q}"
        " --settings {params.settings:q} --output {output:q} --threads {threads} --log {log:q}"
