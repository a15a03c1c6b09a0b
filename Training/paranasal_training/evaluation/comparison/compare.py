"""`paranasal compare`: finished runs -> the tables, the figures and the page of one experiment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from paranasal_training.evaluation.comparison.collect import ScoredRuns, collect
from paranasal_training.evaluation.comparison.config import ComparisonConfig
from paranasal_training.evaluation.comparison.costs import cost_lines, cost_table, trained_on
from paranasal_training.evaluation.comparison.figures import (
    Picture,
    draw,
    label_fraction_figure,
    paired_figure,
    reliability_figure,
)
from paranasal_training.evaluation.comparison.page import SIMULATED, make_page
from paranasal_training.evaluation.comparison.statistics import Sampled, compare, summarise
from paranasal_training.evaluation.comparison.tables import (
    OTHER_METRICS,
    PAPER_METRICS,
    Results,
    Table,
    kind_lines,
    kind_table,
    metric_lines,
    metric_tables,
    open_sentences,
    tally_sentences,
)
from ParanasalSSLLib.files import write_whole

ONE_PRETRAINING = (
    "No row has had two pretraining runs here, so the chance of pretraining is in none of this: rows "
    "that are close may change places when they are pretrained again."
)
ONE_DIVISION = (
    "There is one division of the training patients, so each row has been trained once, and the chance "
    "of training (whose labels, which pretraining run, which random start) is in none of this: "
    "intervals and p are of the test patients alone, and rows that are close, or that win, may change "
    "places when they are trained again."
)
LABELS_USED = (
    "A percentage is that of the training patients whose labels the classifier learns from. All rows "
    "also use the labels of the whole validation part, for the choice of the epoch, the calibration "
    "and the threshold. Rows of residuals also use all healthy labels of the training part, which the "
    "autoencoder learns from (as in the paper), where their title does not say otherwise."
)
_CALIBRATION = "ECE and Brier (smaller is better); sensitivity and specificity at the F1 threshold"


def write_comparison(config: ComparisonConfig) -> Path:
    """Write tables, figures and page; returns the page.

    `table.md`, `table.csv`, `paired.csv`, `costs.csv`, `by_kind.csv` (empty but for its head where
    lesions are not known), `figure3`, `paired` and `reliability` as PNG and SVG, `page.html`. The same
    runs give the same bytes.

    Raises:
        BadStore: a run is incomplete or damaged, runs differ in their test crops, or there are none.
    """
    experiment = collect(
        config.runs, config.rows, config.percents, config.open_reasons, config.folds
    )
    sampled = Sampled.of(experiment, config.resamples, config.seed)
    results = Results(
        experiment,
        summarise(experiment, sampled),
        compare(sampled, config.ours),
        {method: config.titles.get(method, method) for method in config.rows},
        config.percents,
        config.ours,
        config.simulated,
        sampled.pretraining,
    )
    kinds, costs = kind_lines(experiment), cost_lines(results)
    pictures = draw_pictures(results)
    texts = {
        "table.md": _markdown(config, results, kinds),
        "costs.csv": _csv(costs),
        "table.csv": _csv(metric_lines(results)),
        "paired.csv": _csv(results.paired),
        "by_kind.csv": _csv(kinds),
        "page.html": _page(config, results, kinds, pictures),
    }
    for name, picture in (("figure3", "shares"), ("paired", "paired"), ("reliability",) * 2):
        _write(config.output / f"{name}.png", pictures[picture].png)
        _write(config.output / f"{name}.svg", pictures[picture].svg)
    for name, text in texts.items():
        _write(config.output / name, text.encode("utf-8"))
    return config.output / "page.html"


def _write(path: Path, content: bytes) -> None:
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def _csv(table: pd.DataFrame) -> str:
    return table.round(4).to_csv(index=False, lineterminator="\n")


def draw_pictures(results: Results) -> dict[str, Picture]:
    """The three pictures, by the names that the page knows them by."""
    ours = results.titles[results.ours]
    cohort = " Simulated cohort." if results.simulated else ""
    interval = "95 % intervals"
    shares = (
        f"Test AUPRC and AUROC against the fraction of labels; bands are {interval}."
        if len(results.percents) > 1
        else f"Test AUPRC and AUROC; bars are {interval}."
    )
    paired = (
        f"{ours} minus each baseline, mean over folds, with the 95 % interval of the paired "
        "comparison. Colours follow p after Holm's correction, so a grey interval may miss zero."
    )
    reliability = (
        "Reliability on the test set: on the dotted line, probabilities mean what they say. "
        "Crops of all folds are pooled, larger dots stand for more crops; ECE is the mean of the folds."
    )
    return {
        "shares": draw(label_fraction_figure, results, shares + cohort),
        "paired": draw(paired_figure, results, paired + cohort),
        "reliability": draw(reliability_figure, results, reliability + cohort),
    }


# ------------------------------------------------------------------------------------- words


def _tables(results: Results) -> list[Table]:
    return [
        *metric_tables(results, PAPER_METRICS, "Test set, mean ± half of the 95 % interval"),
        *metric_tables(results, OTHER_METRICS, _CALIBRATION),
        *([table] if (table := cost_table(results, cost_lines(results))) else []),
    ]


def _kind_tables(results: Results, kinds: pd.DataFrame) -> list[Table]:
    """Of the smallest and the greatest label fraction; `by_kind.csv` has them all."""
    with_lines = sorted(set(kinds["percent"]) & {results.percents[0], results.percents[-1]})
    return [kind_table(results, kinds, percent) for percent in with_lines]


def _reading(config: ComparisonConfig, results: Results) -> list[str]:
    """What the figures mean and what they do not."""
    ours = results.titles[results.ours]
    return [
        "Bold: the best mean of a column. Arrows: the method is worse (↓) or better (↑) than "
        f"{ours} in the paired comparison, p below 0.05 after Holm's correction over the methods of "
        "that label fraction and metric. No arrow at AUROC or AUPRC: no difference was shown, which is "
        "not the same as being equal. Other columns carry no arrows.",
        *_chances(config, results),
        LABELS_USED,
        "AUROC: how often an anomalous sinus scores higher than a normal one. AUPRC: mean precision. "
        "F1, sensitivity and specificity: at the threshold of the highest F1 on each fold's validation "
        "set. ECE: mean gap between probability and observed share over ten bins. Brier: mean squared "
        "error of the probability.",
    ]


def _chances(config: ComparisonConfig, results: Results) -> list[str]:
    """Which sources of chance intervals and comparisons cover."""
    patients = (
        f"Intervals and the paired comparison draw the test patients {config.resamples} times with "
        "replacement, both sinuses of a patient together"
    )
    if len(results.experiment.folds) == 1:
        return [f"{patients}.", ONE_DIVISION]
    return [
        f"{patients}, and each time add the chance of training "
        "(whose labels, which pretraining run, which random start) as large as the runs of all rows "
        "of a label fraction show it to be, taken together, as if it were the same for all rows. In "
        "the comparison, what rows share (labels, a pretraining run) does not count. Folds have "
        "training patients in common, the more the larger the percentage, so that at large ones the "
        "chance of whose labels is greater than it looks.",
        *([] if results.pretraining else [ONE_PRETRAINING]),
    ]


def _experiment(config: ComparisonConfig, experiment: ScoredRuns) -> dict[str, str]:
    test = experiment.test
    anomalous = int(experiment.labels.sum())
    return {
        **config.experiment,
        "Trained on": trained_on(experiment),
        "Folds": str(len(experiment.folds)),
        "Test set": (
            f"{test['patient'].nunique()} patients, {len(test)} sinuses, {anomalous} of them anomalous"
            f"{' (simulated)' if config.simulated else ''}"
        ),
        "Bootstrap": f"{config.resamples} resamples of the test patients, seed {config.seed}",
    }


def _markdown(config: ComparisonConfig, results: Results, kinds: pd.DataFrame) -> str:
    facts = [f"{name}: {value}" for name, value in _experiment(config, results.experiment).items()]
    missing = open_sentences(results)
    parts = [
        f"# {config.title}\n",
        *([f"{SIMULATED}\n"] if config.simulated else []),
        *(f"{note}\n" for note in config.notes),
        *(table.markdown() for table in _tables(results)),
        *(["Open:\n", _bullets(missing)] if missing else []),
        f"## Paired comparison\n\n{_bullets(tally_sentences(results))}",
        *(table.markdown() for table in _kind_tables(results, kinds)),
        "## How to read this\n",
        *(f"{text}\n" for text in _reading(config, results)),
        f"## What was run\n\n{_bullets(facts)}",
    ]
    return "\n".join(parts)


def _bullets(texts: Iterable[str]) -> str:
    return "".join(f"- {text}\n" for text in texts)


def _page(
    config: ComparisonConfig, results: Results, kinds: pd.DataFrame, pictures: dict[str, Picture]
) -> str:
    return make_page(
        title=config.title,
        simulated=config.simulated,
        notes=config.notes,
        tally=tally_sentences(results),
        tables=_tables(results),
        open_cells=open_sentences(results),
        pictures=pictures,
        kinds=_kind_tables(results, kinds),
        reading=_reading(config, results),
        experiment=_experiment(config, results.experiment),
    )
