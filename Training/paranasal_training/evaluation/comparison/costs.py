"""What each row cost: crops seen, steps of the optimiser and minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from paranasal_training.evaluation.comparison.collect import Run, ScoredRuns
from paranasal_training.evaluation.comparison.provenance import Cost
from paranasal_training.evaluation.comparison.tables import Results, Table, TableCell

NOTHING = "–"
NOT_RECORDED = "not recorded"
COLUMNS = ["method", "percent", "stage", "runs", "crops", "steps", "seconds"]


def cost_lines(results: Results) -> pd.DataFrame:
    """`costs.csv`: a line for method, percent and stage; means over runs, each pretraining run once."""
    lines = []
    for (method, percent), runs in results.experiment.runs.items():
        for stage, costs in _costs(runs).items():
            if costs:
                mean = _mean(list(costs.values()))
                lines.append({"method": method, "percent": percent, "stage": stage, **mean})
    return pd.DataFrame(lines, columns=COLUMNS)


def trained_on(experiment: ScoredRuns) -> str:
    """The machines of fine-tunings and their pretrainings, each run once; of several, how many."""
    costs: dict[str, Cost] = {}
    for runs in experiment.runs.values():
        for of_stage in _costs(runs).values():
            costs |= of_stage
    machines = Counter(cost.machine or NOT_RECORDED for cost in costs.values() if cost.steps)
    if len(machines) < 2:
        return next(iter(machines), NOT_RECORDED)
    return "; ".join(
        f"{machine}: {count} run{'s' * (count > 1)}" for machine, count in machines.most_common()
    )


def _costs(runs: Iterable[Run]) -> dict[str, dict[str, Cost]]:
    """By stage and by the name of the training, each once."""
    trainings = [run.training for run in runs if run.training]
    return {
        "pretraining": {
            t.pretraining: t.pretraining_cost
            for t in trainings
            if t.pretraining and t.pretraining_cost
        },
        "fine-tuning": {t.name: t.cost for t in trainings},
    }


def _mean(costs: list[Cost]) -> dict[str, float]:
    return {
        "runs": len(costs),
        "crops": round(float(np.mean([cost.crops for cost in costs]))),
        "steps": round(float(np.mean([cost.steps for cost in costs]))),
        "seconds": round(float(np.mean([cost.seconds for cost in costs])), 1),
    }


def cost_table(results: Results, lines: pd.DataFrame) -> Table | None:
    """Methods down; pretraining, then fine-tuning at each label fraction; None: nothing is known."""
    if lines.empty:
        return None
    rows = []
    for method, title in results.titles.items():
        here = lines[lines["method"] == method]
        before = here[here["stage"] == "pretraining"].head(1)
        tuned = here[here["stage"] == "fine-tuning"].set_index("percent")
        cells = [_cell(before.iloc[0] if len(before) else None)]
        cells += [
            _cell(tuned.loc[[p]].iloc[0] if p in tuned.index else None) for p in results.percents
        ]
        rows.append((TableCell(title), *cells))
    head = ("Method", "Pretraining", *(f"Fine-tuning {percent} %" for percent in results.percents))
    caption = "A run's crops seen; steps; minutes beside what else ran there"
    return Table(caption, head, tuple(rows), list(results.titles).index(results.ours))


def _cell(line: pd.Series | None) -> TableCell:
    if line is None or not line["steps"]:
        return TableCell(NOTHING)
    return TableCell(f"{line['crops']:,.0f}; {line['steps']:,.0f}; {line['seconds'] / 60:.1f}")
