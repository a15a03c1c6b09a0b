"""The paper's tables: one row a method, the metrics side by side for each label fraction.

A `Table` is made once and written as Markdown and on the page, so both say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from paranasal_training.evaluation.comparison.collect import METRICS, ScoredRuns
from paranasal_training.evaluation.comparison.statistics import Interval
from paranasal_training.evaluation.metrics import VOLUME_EDGES_ML, sensitivity_table
from ParanasalSSLLib.sinuses import KIND_NAMES

PAPER_METRICS = ("auroc", "auprc", "f1")
OTHER_METRICS = ("ece", "brier", "sensitivity", "specificity")
METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "ece": "ECE",
    "brier": "Brier",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
SMALLER_IS_BETTER = ("ece", "brier")
TRADED = ("sensitivity", "specificity")  # one for the other, so that neither has a best
SHOWN_SHARES = 3
COLUMNS_A_TABLE = 9  # as in the paper; what fits side by side on a screen
OPEN = "open"
MARKS = {"wins": " ↓", "ties": "", "loses": " ↑"}  # the baseline, seen from ours


@dataclass(frozen=True)
class TableCell:
    """One field; `strong` is printed bold."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, a head and rows of equal length. `chosen` is the number of the row to point out."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    chosen: int | None = None

    def markdown(self) -> str:
        """A GitHub table below its caption; the chosen row begins with a pointer."""
        lines = [self.head, tuple("---" if n == 0 else "---:" for n in range(len(self.head)))]
        for number, row in enumerate(self.rows):
            words = [_escape(cell.text) for cell in row]
            words = [f"**{w}**" if cell.strong else w for w, cell in zip(words, row, strict=True)]
            lines.append(("▸ " * (number == self.chosen) + words[0], *words[1:]))
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"**{self.caption}**\n\n{table}\n"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


# --------------------------------------------------------------------------------- metrics


@dataclass(frozen=True, eq=False)
class Results:
    """What the tables and figures are made from.

    Attributes:
        experiment: the runs.
        summary: of `summarise`.
        paired: of `compare`.
        titles: of the methods, in the order of rows.
        percents: label fractions in ascending order.
        ours: the method that others are compared with.
        simulated: whether the cohort is.
        pretraining: whether intervals cover the chance of pretraining.
    """

    experiment: ScoredRuns
    summary: Mapping[tuple[str, int], Mapping[str, Interval]]
    paired: pd.DataFrame
    titles: Mapping[str, str]
    percents: tuple[int, ...]
    ours: str
    simulated: bool
    pretraining: bool = False

    @property
    def shown_percents(self) -> tuple[int, ...]:
        """At most three label fractions, for what cannot show all: first, middle, last."""
        if len(self.percents) <= SHOWN_SHARES:
            return self.percents
        return (self.percents[0], self.percents[len(self.percents) // 2], self.percents[-1])

    @property
    def present(self) -> tuple[str, ...]:
        """Methods with runs at any label fraction."""
        return tuple(m for m in self.titles if any((m, p) in self.summary for p in self.percents))

    def outcome(self, method: str, percent: int, metric: str) -> str | None:
        """What the paired comparison of ours with the method says, None where there is none."""
        found = self.paired[
            (self.paired["baseline"] == method)
            & (self.paired["percent"] == percent)
            & (self.paired["metric"] == metric)
        ]
        return None if found.empty else str(found["outcome"].iloc[0])


def metric_tables(results: Results, metrics: Sequence[str], caption: str) -> list[Table]:
    """Methods by metrics and label fractions, in as many tables as it takes.

    Mean ± half of the 95 % interval; the best mean of a column is strong; baselines carry an arrow
    where the paired comparison with ours shows a difference. Last: what calling everything anomalous
    reaches.
    """
    shares = COLUMNS_A_TABLE // len(metrics)
    starts = range(0, len(results.percents), shares)
    groups = [results.percents[start : start + shares] for start in starts]
    return [_metric_table(results, metrics, group, caption) for group in groups]


def _metric_table(
    results: Results, metrics: Sequence[str], percents: Sequence[int], caption: str
) -> Table:
    columns = [(percent, metric) for percent in percents for metric in metrics]
    best = {column: _best(results, *column) for column in columns}
    rows = []
    for method, title in results.titles.items():
        row = [TableCell(title)]
        for percent, metric in columns:
            if (method, percent) not in results.summary:
                row.append(TableCell(OPEN))
                continue
            found = results.summary[method, percent][metric]
            mark = MARKS[results.outcome(method, percent, metric) or "ties"]
            row.append(
                TableCell(_words(found) + mark, round(found.mean, 3) == best[percent, metric])
            )
        rows.append(tuple(row))
    if set(metrics) <= set(PAPER_METRICS):
        usual = called_everything(results.experiment.labels)
        cells = [TableCell(f"{usual[metric]:.3f}") for _, metric in columns]
        rows.append((TableCell("Everything called anomalous"), *cells))
    head = ["Method", *(f"{METRIC_NAMES[metric]} {percent} %" for percent, metric in columns)]
    return Table(caption, tuple(head), tuple(rows), list(results.titles).index(results.ours))


def called_everything(labels: np.ndarray) -> dict[str, float]:
    """What calling every crop anomalous reaches, without looking."""
    share = float(labels.mean())
    return dict(zip(PAPER_METRICS, (0.5, share, 2 * share / (1 + share)), strict=True))


def _best(results: Results, percent: int, metric: str) -> float | None:
    """The best mean of a column as it is printed; None where there is none."""
    if metric in TRADED:
        return None
    cells = [cell for cell in results.summary if cell[1] == percent]
    means = [round(results.summary[cell][metric].mean, 3) for cell in cells]
    return (min if metric in SMALLER_IS_BETTER else max)(means, default=None)


def _words(found: Interval) -> str:
    return f"{found.mean:.3f}" + ("" if np.isnan(found.half) else f" ± {found.half:.3f}")


def tally_sentences(results: Results) -> list[str]:
    """How ours fares against the baselines, one sentence for label fraction and metric."""
    sentences = []
    for (percent, metric), lines in results.paired.groupby(["percent", "metric"], sort=False):
        won = {
            word: [results.titles[b] for b in lines.loc[lines["outcome"] == word, "baseline"]]
            for word in MARKS
        }
        parts = [f"{word} {len(names)}{_listed(names)}" for word, names in won.items()]
        name = METRIC_NAMES[str(metric)]
        sentences.append(
            f"{percent} % of the labels, {name}: {results.titles[results.ours]} {', '.join(parts)}."
        )
    return sentences


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def open_sentences(results: Results) -> list[str]:
    """Why cells are open, one sentence for each method and reason."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for (method, percent), reason in results.experiment.missing.items():
        grouped.setdefault((method, reason), []).append(f"{percent} %")
    return [
        f"{results.titles[method]}, {', '.join(percents)}: {reason}."
        for (method, reason), percents in grouped.items()
    ]


def metric_lines(results: Results) -> pd.DataFrame:
    """`table.csv`: one line for method and label fraction, all metrics, open ones with their reason."""
    lines = []
    for method, title in results.titles.items():
        for percent in results.percents:
            reason = results.experiment.missing.get((method, percent))
            line: dict[str, object] = {
                "method": method,
                "title": title,
                "percent": percent,
                "status": "done" if reason is None else OPEN,
                "folds": len(results.experiment.folds) if reason is None else 0,
            }
            if reason is None:
                line |= _bounds(results.summary[method, percent])
            lines.append(line | {"reason": reason or ""})
    columns = ["method", "title", "percent", "status", "folds"]
    columns += [f"{name}{part}" for name in METRICS for part in ("", "_low", "_high")]
    return pd.DataFrame(lines, columns=[*columns, "reason"])


def _bounds(metrics: Mapping[str, Interval]) -> dict[str, float]:
    bounds: dict[str, float] = {}
    for name, found in metrics.items():
        bounds |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
    return bounds


# ------------------------------------------------------------------------ by kind and volume


def kind_lines(experiment: ScoredRuns) -> pd.DataFrame:
    """`by_kind.csv`: share of anomalous test crops found, mean over folds at each fold's threshold.

    Returns:
        Columns method, percent, kind, from_ml, to_ml (inf: no limit), lesions, found; no lines where
        predictions do not say what the lesion truly is (real scans).
    """
    keys = ["method", "percent", "kind", "from_ml"]
    columns = [*keys, "to_ml", "lesions", "found"]
    test = experiment.test
    if not ({"true_class", "lesion_ml"} <= set(test.columns) and (test["true_class"] > 0).any()):
        return pd.DataFrame(columns=columns)
    parts = [
        pd.DataFrame(sensitivity_table(run.test, run.threshold)).assign(
            method=method, percent=percent
        )
        for (method, percent), runs in experiment.runs.items()
        for run in runs
    ]
    table = pd.concat(parts).groupby(keys, sort=False).mean().reset_index()
    table["lesions"] = table["lesions"].astype(int)
    table["to_ml"] = table["from_ml"].map(dict(pairwise(VOLUME_EDGES_ML)))
    place = {cell: number for number, cell in enumerate(experiment.runs)}
    kinds = list(KIND_NAMES.values())
    table["cell"] = [place[cell] for cell in zip(table["method"], table["percent"], strict=True)]
    table["order"] = table["kind"].map(kinds.index)
    return table.sort_values(["cell", "order", "from_ml"])[columns]


def kind_table(results: Results, lines: pd.DataFrame, percent: int) -> Table:
    """Kinds and volumes down, methods across, at one label fraction."""
    here = lines[lines["percent"] == percent]
    methods = [m for m in results.titles if (here["method"] == m).any()]
    found = here.set_index(["kind", "from_ml", "method"])["found"]
    rows = []
    groups = here.drop_duplicates(["kind", "from_ml"])
    for kind, low, high, count in groups[["kind", "from_ml", "to_ml", "lesions"]].itertuples(
        index=False, name=None
    ):
        shares = [found[kind, low, method] for method in methods]
        size = f"{low:g} to {high:g} ml" if np.isfinite(high) else f"{low:g} ml or more"
        cells = [TableCell(f"{share:.2f}") for share in shares]
        rows.append((TableCell(f"{kind.capitalize()}, {size}"), TableCell(str(count)), *cells))
    head = ("Lesion", "Crops", *(results.titles[method] for method in methods))
    return Table(f"Share of lesions found, {percent} % of the labels", head, tuple(rows))
