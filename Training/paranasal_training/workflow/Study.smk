# The steps of a study, each some scans in one process. Start it with `paranasal predict-study`.
# It runs in the study's private folder; `study.py` says what is in it.
from pathlib import Path

from paranasal_training.workflow.study import Study

study = Study.read(Path())


rule all:
    input: [f"steps/{step}.done" for step in study.steps()]


rule score:
    output: "steps/{step}.done"
    log: "logs/{step}.log"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
        mem_mb=3000,
        runtime=60,
    shell:
        "OMP_NUM_THREADS={threads} ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS={threads}"
        " python -m paranasal_training.workflow.step . {wildcards.step} > {log} 2>&1"
        " || {{ touch {log}.failed; exit 1; }}"
