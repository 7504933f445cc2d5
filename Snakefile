# Kidney and kidney-tumour segmentation in CT: train, cross-validate, compare and apply.
from snakemake.utils import min_version

min_version("9.0")


configfile: workflow.source_path("config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/prepare.smk"
include: "rules/learn.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


onstart:
    begin()


rule all:
    default_target: True
    input:
        TABLES,
        RESULTS / "segmented/all.txt",
        RESULTS / "report/rule_graph.png",


for method in METHODS:

    rule:
        name:
            method
        input:
            results_of(method),
            RESULTS / "segmented" / f"{method}.txt",
