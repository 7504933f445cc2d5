# Kidney and kidney-tumour segmentation in CT: train, cross-validate, compare and apply.
from snakemake.utils import min_version

min_version("9.0")


include: "rules/configuration.smk"


configfile: workflow.source_path("config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/prepare.smk"
include: "rules/learn.smk"
include: "rules/nnunet.smk"
include: "rules/combine.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        # What is missing is noticed where it is asked for here, not behind what is made of it.
        RESULTS / "cases.csv",
        [path for method in plan.methods for path in plan.results_of(method)],
        plan.results_of_all,
        RESULTS / "segmented/all.txt",


for method in plan.methods:

    rule:
        name:
            method
        input:
            plan.results_of(method),
            RESULTS / "segmented" / f"{method}.txt",
