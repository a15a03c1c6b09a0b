"""The paper's experiments as one declared workflow.

- `experiments.yaml`: which variants there are, and which of them each table compares.
- `presets/`: how large everything is (`smoke`, `cpu`, `paper`).
- `plan.py`: both together as typed objects, and the settings of every run.
- `Snakefile`: which run needs which; Snakemake runs what is missing, here or on a cluster.
- `checks.py`: what would go wrong in hours, seen before the first step.
- `experiment.py`: `paranasal experiment`, which starts Snakemake.

The same for scoring scans: `study.py` (which scans there are, how far each is), `Study.smk`, `step.py`
(some scans, one after another), `predict_study.py`: `paranasal predict-study`.
"""
