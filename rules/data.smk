# Every file of every case is read and checked once, before anything is computed from it.
rule validate:
    input:
        images=lambda w: [
            path
            for name in BATCHES[w.batch]
            for path in (
                CONFIGURATION.data.root / name / case_list.IMAGE,
                CONFIGURATION.data.root / name / case_list.LABEL,
            )
            if path.exists()
        ],
        code=sources_of("validation"),
    output:
        RESULTS / "cases/{batch}.json",
    log:
        log_of("validate", "{batch}"),
    benchmark:
        benchmark_of("validate", "{batch}")
    conda:
        "../envs/renal.yaml"
    threads: CONFIGURATION.compute.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: volume_memory([w.batch], threads, attempt),
        runtime=lambda w, attempt: 30 * attempt,
    params:
        root=CONFIGURATION.data.root,
        limit=CONFIGURATION.data.maximum_voxels,
        cases=lambda w: BATCHES[w.batch],
    message:
        "Checking the files of {wildcards.batch}"
    shell:
        "renal validate --data {params.root:q} --maximum-voxels {params.limit} --output {output:q}"
        " --threads {threads} --log {log:q} {params.cases:q}"


# All bad cases are listed at once, and stop the run before anything is trained.
rule check_cases:
    input:
        checked=checked(BATCHES),
        code=sources_of("collect"),
    output:
        RESULTS / "cases.csv",
    log:
        log_of("check_cases"),
    benchmark:
        benchmark_of("check_cases")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    message:
        "Listing all cases"
    shell:
        "renal check_cases --checked {input.checked:q} --output {output:q} --log {log:q}"


# The last job: it fails where a case that was only to be segmented was bad.
rule check_segmented:
    input:
        checked=checked(UNLABELLED),
        tables=TABLES,
        results=[path for m in METHODS for path in segmentations_of(m) + pictures_of(m)],
    output:
        RESULTS / "segmented.txt",
    log:
        log_of("check_segmented"),
    benchmark:
        benchmark_of("check_segmented")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    message:
        "Checking that every case was segmented"
    shell:
        "renal check_segmented --checked {input.checked:q} --output {output:q} --log {log:q}"
