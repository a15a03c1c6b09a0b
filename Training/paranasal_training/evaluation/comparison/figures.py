"""Pictures of a comparison; each is drawn once and saved as PNG and SVG, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from paranasal_training.evaluation.classifier import ECE_BINS
from paranasal_training.evaluation.comparison.statistics import COMPARED
from paranasal_training.evaluation.comparison.tables import METRIC_NAMES, Results

OURS_COLOR = "#000000"
# Paul Tol's "muted" scheme, made for the colour-blind.
COLORS = (
    "#332288",
    "#cc6677",
    "#44aa99",
    "#999933",
    "#88ccee",
    "#aa4499",
    "#117733",
    "#ddaa33",
    "#882255",
)
MARKERS = "sD^vXP<>*hd"  # eleven, so that with nine colours no two of 99 methods look alike
LINES = ("-", "--", ":")  # the second and third time that a colour is used
SHARE_COLORS = ("#88ccee", "#44aa99", "#332288")
OUTCOME_COLORS = {"wins": "#17607d", "ties": "#8a949e", "loses": "#b3541e"}
OUTCOME_WORDS = {
    "wins": "better than the baseline",
    "ties": "no difference shown",
    "loses": "worse than the baseline",
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.color": "#e3e7eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "paranasal",
}


@dataclass(frozen=True)
class Picture:
    """A figure in both formats, and what it shows in words."""

    png: bytes
    svg: bytes
    words: str


def draw(painter: Callable[[Results], Figure], results: Results, words: str) -> Picture:
    """Call the painter in the house's style and save what it draws."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg", **_STYLE}):
        figure = painter(results)
        if results.simulated:
            figure.suptitle("Simulated cohort", fontsize=9, color="#5b6875")
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(png.getvalue(), svg.getvalue(), words)


def method_styles(results: Results) -> dict[str, dict[str, Any]]:
    """Colour, marker, width and layer of each method's line."""
    styles: dict[str, dict[str, Any]] = {}
    for number, method in enumerate(m for m in results.titles if m != results.ours):
        styles[method] = {
            "color": COLORS[number % len(COLORS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": LINES[number // len(COLORS) % len(LINES)],
            "linewidth": 1.3,
            "markersize": 5,
            "zorder": 3,
        }
    styles[results.ours] = {
        "color": OURS_COLOR,
        "marker": "o",
        "linewidth": 2.8,
        "markersize": 7,
        "zorder": 5,
    }
    return styles


# --------------------------------------------------------------------------------- figure 3


def label_fraction_figure(results: Results) -> Figure:
    """AUPRC and AUROC against the label fraction, as figure 3 of the paper; dots for one alone."""
    if len(results.percents) == 1:
        return _dot_figure(results)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots(1, 2)
    styles = method_styles(results)
    for axis, metric in zip(axes, ("auprc", "auroc"), strict=True):
        for method in results.present:
            _draw_line(axis, results, method, metric, styles[method])
        axis.set_title(METRIC_NAMES[metric])
        axis.set_xticks(results.percents)
        axis.set_xlabel("labels used for training (%)")
        axis.set_ylabel(f"test {METRIC_NAMES[metric]}")
    order = sorted(results.present, key=lambda method: method != results.ours)
    handles = [Line2D([], [], label=results.titles[m], **styles[m]) for m in order]
    figure.legend(handles=handles, loc="outside right center", labelspacing=0.9)
    return figure


def _draw_line(
    axis: Axes, results: Results, method: str, metric: str, style: Mapping[str, Any]
) -> None:
    percents = [p for p in results.percents if (method, p) in results.summary]
    found = [results.summary[method, percent][metric] for percent in percents]
    mean = np.array([interval.mean for interval in found])
    low, high = np.array([[one.low for one in found], [one.high for one in found]])
    axis.plot(percents, mean, **style)
    alpha = 0.18 if method == results.ours else 0.07
    axis.fill_between(percents, low, high, color=style["color"], alpha=alpha, linewidth=0)


def _dot_figure(results: Results) -> Figure:
    """One label fraction: a dot with its interval for each method."""
    (percent,) = results.percents
    figure = Figure(figsize=(11, 1.5 + 0.33 * len(results.present)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    styles = method_styles(results)
    for axis, metric in zip(axes, ("auprc", "auroc"), strict=True):
        for number, method in enumerate(results.present):
            found = results.summary[method, percent][metric]
            style = {k: v for k, v in styles[method].items() if not k.startswith("line")}
            ends = np.nan_to_num([[found.mean - found.low], [found.high - found.mean]])
            axis.errorbar(found.mean, number, xerr=ends, elinewidth=1.6, capsize=3, **style)
        axis.set_title(METRIC_NAMES[metric])
        axis.set_xlabel(f"test {METRIC_NAMES[metric]}, {percent} % of the labels")
    _name_rows(axes[0], results, results.present)
    return figure


def _name_rows(axis: Axes, results: Results, methods: tuple[str, ...]) -> None:
    """Method names down the left, the first on top; ours bold."""
    axis.set_yticks(range(len(methods)), [results.titles[method] for method in methods])
    axis.set_ylim(len(methods) - 0.4, -0.6)
    for label, method in zip(axis.get_yticklabels(), methods, strict=True):
        label.set_fontweight("bold" if method == results.ours else "normal")


# ---------------------------------------------------------------------- paired differences


def paired_figure(results: Results) -> Figure:
    """Ours minus each baseline with the bootstrap's interval, by metric and label fraction."""
    percents = [p for p in results.shown_percents if (results.paired["percent"] == p).any()]
    baselines = tuple(m for m in results.present if m != results.ours)
    height = 1.0 + max(1, len(percents)) * (0.75 + 0.27 * len(baselines))
    figure = Figure(figsize=(10, height), layout="constrained")
    grid = figure.subplots(max(1, len(percents)), 2, sharex="col", sharey=True, squeeze=False)
    for line, percent in zip(grid, percents, strict=False):
        for axis, metric in zip(line, COMPARED, strict=True):
            _draw_differences(axis, results, percent, metric, baselines)
            axis.set_title(f"{METRIC_NAMES[metric]}, {percent} % of the labels")
        _name_rows(line[0], results, baselines)
    for axis, metric in zip(grid[-1], COMPARED, strict=True):
        axis.set_xlabel(f"{results.titles[results.ours]} minus baseline, {METRIC_NAMES[metric]}")
    handles = [
        Line2D([], [], color=OUTCOME_COLORS[word], marker="o", label=OUTCOME_WORDS[word])
        for word in OUTCOME_COLORS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_differences(
    axis: Axes, results: Results, percent: int, metric: str, baselines: tuple[str, ...]
) -> None:
    axis.axvline(0, color="#1d2733", linewidth=1)
    here = results.paired
    here = here[(here["percent"] == percent) & (here["metric"] == metric)].set_index("baseline")
    for number, method in enumerate(baselines):
        if method not in here.index:
            axis.text(0, number, " open", va="center", color=OUTCOME_COLORS["ties"])
            continue
        line = here.loc[method]
        color = OUTCOME_COLORS[str(line["outcome"])]
        axis.plot([line["low"], line["high"]], [number, number], color=color, linewidth=2)
        axis.plot(line["difference"], number, "o", color=color, markersize=6)
    axis.xaxis.set_major_locator(MaxNLocator(6))


# ------------------------------------------------------------------------------ reliability


def reliability_figure(results: Results) -> Figure:
    """Observed against predicted share of anomalies: a panel a method, a line a label fraction."""
    methods = results.present
    columns = min(5, len(methods))
    lines = -(-len(methods) // columns)
    figure = Figure(figsize=(1 + 2.7 * columns, 1.2 + 2.75 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axis, method in zip(grid.flat, methods, strict=False):
        axis.plot([0, 1], [0, 1], color="#8a949e", linestyle=":", linewidth=1)
        for color, percent in zip(SHARE_COLORS, results.shown_percents, strict=False):
            if (method, percent) in results.summary:
                _draw_reliability(axis, results, method, percent, color)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axis.set_title(results.titles[method])
        axis.legend(loc="upper left", fontsize=7, handlelength=1.2, borderaxespad=0.2)
    for axis in grid.flat[len(methods) :]:
        axis.set_axis_off()
    for axis in grid.flat[max(0, len(methods) - columns) : len(methods)]:
        axis.tick_params(labelbottom=True)
    figure.supxlabel("predicted probability of an anomaly", fontsize=9)
    figure.supylabel("observed share of anomalies", fontsize=9)
    return figure


def _draw_reliability(axis: Axes, results: Results, method: str, percent: int, color: str) -> None:
    runs = results.experiment.runs[method, percent]
    mean, observed, share = reliability_curve(
        np.concatenate([run.probability for run in runs]),
        np.tile(results.experiment.labels, len(runs)),
    )
    ece = results.summary[method, percent]["ece"].mean
    axis.plot(mean, observed, color=color, linewidth=1.4, label=f"{percent} %: ECE {ece:.3f}")
    axis.scatter(mean, observed, s=4 + 120 * share, color=color, alpha=0.8, linewidths=0, zorder=3)


def reliability_curve(
    probability: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, observed share of anomalies and share of crops of the bins that are filled.

    Bins as for the expected calibration error: ten of equal width.
    """
    bins = np.minimum((probability * ECE_BINS).astype(int), ECE_BINS - 1)
    count = np.bincount(bins, minlength=ECE_BINS)
    filled = count > 0
    mean = np.bincount(bins, probability, ECE_BINS)[filled] / count[filled]
    observed = np.bincount(bins, labels, ECE_BINS)[filled] / count[filled]
    return mean, observed, count[filled] / len(labels)
