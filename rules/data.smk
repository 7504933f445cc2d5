# Every file of every case is read and checked once. This, `list_cases` and `check_cases` go before
# all other jobs by their priority, not as inputs of them: were they `ancient` inputs, Snakemake
# would overlook, in the run that repeats them, what else has changed. A step by itself refuses a
# bad labelled case too.
rule validate:
    input:
        no_files,
    output:
        RESULTS / "cases/{batch}.json",
    log:
        log_of("validate", "{batch}"),
    benchmark:
        benchmark_of("validate", "{batch}")
    priority: 10
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory([w.batch], threads, attempt),
        runtime=lambda w, attempt: 30 * attempt,
        # Resources, not parameters: a higher limit, or another place of the same data, is no reason
        # to check, and train, again.
        maximum_voxels=plan.configuration.data.maximum_voxels,
        data=DATA,
        files=FILES,
    params:
        labels=LABELS["learned"],
        code=plan.code("validate"),
        cases=lambda w: plan.batches[w.batch],
        # Not as inputs: those are compared by age alone, and name the folder that they lie in.
        stamps=lambda w: plan.stamps(w.batch),
    message:
        "Checking the files of {wildcards.batch}"
    shell:
        "renal validate --data {resources.data:q} --files {resources.files:q}"
        " --cases {params.cases:q} --maximum-voxels {resources.maximum_voxels}"
        " {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"


rule list_cases:
    input:
        checked=plan.checked(plan.batches),
    output:
        RESULTS / "cases.csv",
    log:
        log_of("list_cases"),
    benchmark:
        benchmark_of("list_cases")
    priority: 10
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 500 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
        data=DATA,
    params:
        labels=LABELS["learned"],
        code=plan.code("list_cases"),
        listed=plan.listed,
    message:
        "Listing all cases"
    shell:
        "renal list_cases --data {resources.data:q} --checked {input.checked:q}"
        " {params.labels:q} --output {output:q} --log {log:q}"


# All bad cases are told at once, and stop the run before anything is trained. A job of its own, so
# that cases.csv is there to read: Snakemake takes away what a job that fails has written.
rule check_cases:
    input:
        listed=RESULTS / "cases.csv",
        checked=plan.checked(plan.batches),
    output:
        RESULTS / "cases/usable.txt",
    log:
        log_of("check_cases"),
    benchmark:
        benchmark_of("check_cases")
    priority: 10
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 500 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
        data=DATA,
    params:
        code=plan.code("check_cases"),
        listed=plan.listed,
    message:
        "Checking that the cases can be used"
    shell:
        "renal check_cases --data {resources.data:q} --checked {input.checked:q}"
        " --output {output:q} --log {log:q}"


# The last job of a run, or of a method: it fails where a case that was only to be segmented was
# bad, after all others were finished.
rule check_segmented:
    input:
        usable=RESULTS / "cases/usable.txt",
        checked=plan.checked(plan.batches),
        segmentations=lambda w: [
            plan.segmentations_of(method)[0] for method in plan.methods_of(w.scope)
        ],
        results=lambda w: [
            path for method in plan.methods_of(w.scope) for path in plan.results_of(method)
        ]
        + (plan.results_of_all if w.scope == "all" else []),
    output:
        RESULTS / "segmented/{scope}.txt",
    log:
        log_of("check_segmented", "{scope}"),
    benchmark:
        benchmark_of("check_segmented", "{scope}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 500 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        folders=lambda w, input: [Path(path).parent for path in input.segmentations],
        code=plan.code("check_segmented"),
    message:
        "Checking that every case was segmented"
    shell:
        "renal check_segmented --checked {input.checked:q} --segmentations {params.folders:q}"
        " --output {output:q} --log {log:q}"
