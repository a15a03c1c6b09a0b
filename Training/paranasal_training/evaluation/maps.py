"""How well residuals point at lesions: against the masks of a simulation, which no cohort has.

Two maps are judged: the residual |x - x'| (Bhattacharya 2024, 2.3.2), and `mask_evidence`, where it
counts double in air that the reconstruction expects. Voxels outside the sinus region (what healthy
reconstructions hold as air, and a margin) are never marked and not judged. Truth is the simulated
lesion mask; all the lesion of one crop counts as one lesion.

Thresholds are chosen on validation crops, figures are of test crops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from paranasal_training.data.splits import Partition
from paranasal_training.data.store import CropStore
from paranasal_training.evaluation.classifier import KIND_NAMES, VOLUME_EDGES_ML, dice
from paranasal_training.release.bundling import ThresholdConfig, sinus_region
from paranasal_training.runs.config import plain
from paranasal_training.stages.cae import load_cae
from paranasal_training.stages.residuals import CHUNK, residual_pairs
from ParanasalSSLLib.devices import resolve_device
from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.model.networks import CAE, channels_last
from ParanasalSSLLib.model.residual import ResidualConfig, air_share, mask_evidence

MAPS = ("residual", "evidence")
# Values 0..2 (evidence counts double); 2048 bins a unit, so that edges are exact in float32.
BINS, BINS_PER_UNIT = 4096, 2048
REGION_CROPS = 200  # healthy validation crops that show where a sinus is
HEALTHY_ML, HEALTHY_SHARE = 0.5, 0.95  # what a healthy sinus may show, and in how many
COVERED_SHARE = 0.1  # of a lesion; when the mask covers it, the lesion is found
SCORE_QUANTILE = 0.95
PICTURES, COLUMNS = 24, 4
TITLE_INCHES = 0.35  # above the pictures


@dataclass(frozen=True, kw_only=True)
class LocaliseConfig:
    """`paranasal localise`. Give the `splits` and `fold` that the autoencoder was trained with."""

    store: Path
    """Crop store with lesion masks (simulated)."""
    cae: Path
    """Folder of a finished `train` run, the autoencoder."""
    output: Path
    """Folder for `metrics.json`, `by_kind.csv` and `lesions.png`."""
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    """How a residual follows from crop and reconstruction."""
    limit: int = 0
    """Crops of each part, validation and test, in a fixed random choice; 0: all."""
    splits: Path | None = None
    """CSV file of `paranasal split` (unset: the parts that the store's own table names)."""
    fold: int = 1
    """Fold of `splits` that the autoencoder was validated on, 1 or more."""
    device: str = "auto"
    """What computes: auto, cpu, cuda (one of several: cuda:1) or mps."""

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise BadConfig(f"limit is 0 (all crops) or more, not {self.limit}.")


def localise(config: LocaliseConfig) -> dict[str, Any]:
    """Judge the residuals of an autoencoder; write metrics, a table and a picture; return metrics.

    Raises:
        BadStore: damaged, without lesion masks, or a part without healthy or anomalous crops.
        BadCheckpoint: the autoencoder's run is not finished or damaged.
    """
    store = CropStore.open(config.store)
    lesions = _require_lesions(store)
    partition = Partition.of(store, config.splits, config.fold)
    network, run = load_cae(config.cae)
    device = resolve_device(config.device)
    source = Maps(store, lesions, channels_last(network.to(device)), config.residual, device)
    validation = _choose(source, partition.rows("validation"), "validation", config.limit)
    test = _choose(source, partition.rows("test"), "test", config.limit)

    region = source.region(validation)
    fits = {name: Fit(region) for name in MAPS}
    for crop in source.of(validation, "validation crops"):
        for name, fit in fits.items():
            fit.add(crop.maps[name], crop.lesion)
    thresholds = {name: fit.thresholds() for name, fit in fits.items()}
    tallies = {name: Tally(region, thresholds[name]) for name in MAPS}
    for crop in source.of(test, "test crops"):
        for name, tally in tallies.items():
            tally.add(crop.maps[name], crop.lesion, crop.kind)

    metrics: dict[str, Any] = {
        "simulated": bool(store.info.get("simulated", False)),
        "store": store.checksum,
        "cae": {"store": run.record["store"], "val_loss": run.record["val_loss"]},
        "residual_config": asdict(config.residual),
        "region_ml": round(float(region.sum()) / 1000, 1),
        "validation_crops": len(validation),
        "test_crops": len(test),
        "maps": {name: tally.metrics() for name, tally in tallies.items()},
    }
    picture = _draw(source, test, region, thresholds["evidence"])
    write_json(config.output / "config.json", plain(config))
    _write(config.output, metrics, tallies, picture)
    return metrics


# ------------------------------------------------------------------------------ residuals of crops


@dataclass(frozen=True, eq=False)
class JudgedCrop:
    """maps: float32 (64, 64, 64) by name; lesion: bool, same shape; kind: name of the lesion."""

    row: int
    maps: dict[str, np.ndarray]
    rebuilt: np.ndarray
    lesion: np.ndarray
    kind: str


@dataclass(frozen=True, eq=False)
class Maps:
    """Makes the maps of any rows of a store, a few crops in memory at a time."""

    store: CropStore
    lesions: np.ndarray
    network: CAE
    residual: ResidualConfig
    device: str

    def of(self, rows: np.ndarray, what: str) -> Iterator[JudgedCrop]:
        """The crops of rows, with their maps."""
        table = self.store.table
        kinds = table["true_class"] if "true_class" in table else table["class"]
        pairs = self._pairs(rows, self.residual)
        for row, (residual, rebuilt) in tqdm(zip(rows, pairs, strict=True), what, len(rows)):
            maps = {"residual": residual, "evidence": mask_evidence(residual, rebuilt)}
            kind = KIND_NAMES.get(kinds.iloc[row], "unknown")
            yield JudgedCrop(int(row), maps, rebuilt, self.lesions[row] > 0, kind)

    def has_lesion(self, rows: np.ndarray) -> np.ndarray:
        """bool (n,)"""
        return np.array([bool(self.lesions[row].any()) for row in rows])

    def region(self, rows: np.ndarray) -> np.ndarray:
        """bool (64, 64, 64): where the healthy ones among some rows expect a sinus."""
        healthy = rows[~self.has_lesion(rows)][:REGION_CROPS]
        shares = np.zeros(self.store.crops.shape[1:])
        for _, rebuilt in self._pairs(healthy, ResidualConfig(median_kernel_voxels=0)):
            shares += air_share(rebuilt)
        return sinus_region(shares / len(healthy), ThresholdConfig())

    def _pairs(
        self, rows: np.ndarray, config: ResidualConfig
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(rows), CHUNK):
            crops = self.store.crops[rows[start : start + CHUNK]]
            yield from residual_pairs(self.network, crops, config, self.device)


def _require_lesions(store: CropStore) -> np.ndarray:
    if store.lesions is None:
        raise BadStore(
            f"{store.folder} has no lesion masks, so residuals cannot be judged voxel by voxel. "
            "Give a simulated store (`paranasal simulate`); `paranasal evaluate` needs no masks."
        )
    return store.lesions


def _choose(source: Maps, rows: np.ndarray, part: str, limit: int) -> np.ndarray:
    """All or a fixed random choice of rows, ascending; some with and some without a lesion."""
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    has_lesion = source.has_lesion(rows)
    if not has_lesion.any() or has_lesion.all():
        raise BadStore(
            f"{source.store.folder}: the {part} crops need some with and some without a lesion; "
            f"{int(has_lesion.sum())} of the {len(rows)} chosen have one. Give a larger store or "
            "another --limit."
        )
    return rows


# ---------------------------------------------------------------------- measures from histograms


def histogram(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """int64 (2, BINS): counts of values 0..2 where `truth` is False and where it is True."""
    bins = np.clip(values * BINS_PER_UNIT, 0, BINS - 1).astype(np.int64)
    return np.stack([np.bincount(bins[truth == side], minlength=BINS) for side in (False, True)])


def histogram_auroc(counts: np.ndarray) -> float:
    """Area under the ROC curve of values in bins (NaN when one side is empty); ties count half."""
    negative, positive = counts
    pairs = float(negative.sum()) * float(positive.sum())
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs else float("nan")


def histogram_average_precision(counts: np.ndarray) -> float:
    """Mean precision over the steps of recall, as scikit-learn has it (NaN without positives)."""
    negative, positive = counts[:, ::-1]
    if not positive.sum():
        return float("nan")
    true = np.cumsum(positive)
    precision = true / np.maximum(true + np.cumsum(negative), 1)
    return float((precision * positive).sum() / positive.sum())


def histogram_dice(counts: np.ndarray, missed: int = 0) -> np.ndarray:
    """float64 (BINS,): Dice when all values of bin k and above are marked.

    Args:
        counts: see `histogram`.
        missed: voxels of the lesion that were not counted and can never be marked.
    """
    false, true = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    marked_and_lesion = true + false + counts[1].sum() + missed
    return np.asarray(2 * true / np.maximum(marked_and_lesion, 1), float)


# ------------------------------------------------------------------- from validation, and on test


@dataclass(frozen=True)
class Thresholds:
    """dice: values from here on are marked, for the best Dice.

    healthy: values above are marked; `HEALTHY_SHARE` of healthy sinuses then show no more than
    `HEALTHY_ML`.
    """

    dice: float
    healthy: float


class Fit:
    """Chooses the thresholds of one map from validation crops, given one at a time.

    Args:
        region: bool (64, 64, 64), where voxels are judged.
    """

    def __init__(self, region: np.ndarray) -> None:
        self.region = region
        self._dice = np.zeros(BINS)
        self._levels: list[float] = []

    def add(self, values: np.ndarray, lesion: np.ndarray) -> None:
        """Take in one crop's map, and its lesion (bool, empty for a healthy sinus)."""
        inside, truth = values[self.region], lesion[self.region]
        if lesion.any():
            missed = int(lesion.sum() - truth.sum())
            self._dice += histogram_dice(histogram(inside, truth), missed)
        else:
            allowed = min(round(HEALTHY_ML * 1000), inside.size - 1)
            # Above this crop's (allowed + 1)-th largest value lie at most `allowed` voxels.
            self._levels.append(float(np.partition(inside, -allowed - 1)[-allowed - 1]))

    def thresholds(self) -> Thresholds:
        """Of the crops so far."""
        best = 1 + int(self._dice[1:].argmax())  # bin 0 and above would mark everything
        healthy = np.quantile(self._levels, HEALTHY_SHARE, method="higher")
        return Thresholds(best / BINS_PER_UNIT, float(healthy))


class Tally:
    """Figures of one map on test crops, given one at a time.

    Args:
        region: bool (64, 64, 64), where voxels are judged.
        thresholds: from validation crops.
    """

    def __init__(self, region: np.ndarray, thresholds: Thresholds) -> None:
        self.region = region
        self.thresholds = thresholds
        self._counts = np.zeros((2, BINS), np.int64)
        self._missed = 0  # lesion voxels outside the region
        self._lines: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, lesion: np.ndarray, kind: str) -> None:
        """Take in one crop's map, its lesion (bool) and the name of the lesion's kind."""
        inside, truth = values[self.region], lesion[self.region]
        counts = histogram(inside, truth)
        self._counts += counts
        self._missed += int(lesion.sum() - truth.sum())
        shown = self.region & (values > self.thresholds.healthy)
        line: dict[str, Any] = {
            "anomalous": bool(lesion.any()),
            "kind": kind,
            "shown_ml": shown.sum() / 1000,
            "mean_of_crop": float(values.mean()),
            "mean_in_region": float(inside.mean()),
            "quantile_in_region": float(np.quantile(inside, SCORE_QUANTILE)),
        }
        if line["anomalous"]:
            covered = float(shown[lesion].mean())
            line |= {
                "lesion_ml": lesion.sum() / 1000,
                "in_region": float(truth.sum() / lesion.sum()),
                "covered": covered,
                "found": covered >= COVERED_SHARE,
                "auroc": histogram_auroc(counts),
                "average_precision": histogram_average_precision(counts),
                "dice": dice(self.region & (values >= self.thresholds.dice), lesion),
            }
        self._lines.append(line)

    @property
    def lines(self) -> pd.DataFrame:
        """One line a crop."""
        return pd.DataFrame(self._lines)

    def metrics(self) -> dict[str, Any]:
        """Plain JSON values; see the module's description."""
        lines = self.lines
        lesions, healthy = lines[lines["anomalous"]], lines[~lines["anomalous"]]
        best = round(self.thresholds.dice * BINS_PER_UNIT)
        return {
            "voxel": {
                "auroc": _rounded(histogram_auroc(self._counts)),
                "average_precision": _rounded(histogram_average_precision(self._counts)),
                "lesion_share": _rounded(self._counts[1].sum() / self._counts.sum()),
                "auroc_mean_of_lesions": _rounded(lesions["auroc"].mean()),
                "average_precision_mean_of_lesions": _rounded(lesions["average_precision"].mean()),
            },
            "dice": {
                "threshold": _rounded(self.thresholds.dice),
                "mean_of_lesions": _rounded(lesions["dice"].mean()),
                "pooled_with_healthy": _rounded(histogram_dice(self._counts, self._missed)[best]),
            },
            "lesions": {
                "threshold": _rounded(self.thresholds.healthy),
                "healthy_within_limit": _rounded((healthy["shown_ml"] <= HEALTHY_ML).mean()),
                "lesions": len(lesions),
                "sensitivity": _rounded(lesions["found"].mean()),
                "mean_covered": _rounded(lesions["covered"].mean()),
                "mean_in_region": _rounded(lesions["in_region"].mean()),
            },
            "crop_score": {
                name: {
                    "auroc": _rounded(roc_auc_score(lines["anomalous"], lines[name])),
                    "auprc": _rounded(average_precision_score(lines["anomalous"], lines[name])),
                }
                for name in ("mean_of_crop", "mean_in_region", "quantile_in_region")
            },
        }

    def by_kind(self) -> pd.DataFrame:
        """Lesions of each kind and volume (`from_ml`): how many, share found, means of the rest."""
        lesions = self.lines.query("anomalous")
        low = pd.cut(
            lesions["lesion_ml"], VOLUME_EDGES_ML, right=False, labels=VOLUME_EDGES_ML[:-1]
        )
        groups = lesions.astype({"found": float}).groupby(
            ["kind", low.rename("from_ml")], observed=True
        )
        figures = ["found", "covered", "dice", "auroc", "average_precision", "in_region"]
        table = groups[figures].mean().round(3)
        table.insert(0, "lesions", groups.size())
        return table.reset_index()


def _rounded(value: Any) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else round(float(value), 4)


# ------------------------------------------------------------------------------------- outputs


def _write(
    output: Path, metrics: dict[str, Any], tallies: dict[str, Tally], picture: Figure
) -> None:
    kinds = pd.concat({name: tally.by_kind() for name, tally in tallies.items()}, names=["map"])
    with write_whole(output / "by_kind.csv") as temporary:
        kinds.reset_index(level="map").to_csv(temporary, index=False)
    with write_whole(output / "lesions.png") as temporary:
        picture.savefig(temporary, dpi=80)
    write_json(output / "metrics.json", metrics)


def _draw(source: Maps, test: np.ndarray, region: np.ndarray, thresholds: Thresholds) -> Figure:
    """Crop, reconstruction and evidence of some test lesions, in the lesion's largest axial plane."""
    rows = test[source.has_lesion(test)]
    count = min(PICTURES, len(rows))
    rows = np.sort(np.random.default_rng(0).choice(rows, count, replace=False))
    lines = -(-count // COLUMNS)
    figure = Figure(figsize=(5.1 * COLUMNS, 2.0 * lines + 0.5))
    axes = figure.subplots(lines, 3 * COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, crop in enumerate(source.of(rows, "picture")):
        line, column = divmod(number, COLUMNS)
        panels = list(axes[line, 3 * column : 3 * column + 3])
        mask = region & (crop.maps["evidence"] > thresholds.healthy)
        _draw_planes(panels, source.store.crops[crop.row], crop, mask)
    simulated = "simulated " if source.store.info.get("simulated", False) else ""
    figure.suptitle(
        f"{count} {simulated}test lesions (red): crop, healthy reconstruction, evidence with its "
        f"mask (yellow) above {thresholds.healthy:.3f}"
    )
    top = 1 - TITLE_INCHES / figure.get_figheight()
    figure.tight_layout(pad=0.3, h_pad=1.0, rect=(0, 0, 1, top))
    return figure


def _draw_planes(panels: list[Axes], image: np.ndarray, crop: JudgedCrop, mask: np.ndarray) -> None:
    at = int(crop.lesion.sum(axis=(0, 1)).argmax())
    shown = ((image / 255, 1.0), (crop.rebuilt, 1.0), (crop.maps["evidence"], 0.6))
    for panel, (values, top) in zip(panels, shown, strict=True):
        panel.imshow(values[:, :, at].T, cmap="gray", origin="lower", vmin=0, vmax=top)
    _outline(panels[0], crop.lesion[:, :, at], "tab:red")
    _outline(panels[2], crop.lesion[:, :, at], "tab:red")
    _outline(panels[2], mask[:, :, at], "gold")
    title = f"{crop.kind} {crop.lesion.sum() / 1000:.1f} ml"
    panels[0].set_title(title, fontsize=7, loc="left")


def _outline(panel: Axes, mask: np.ndarray, color: str) -> None:
    if mask.any() and not mask.all():
        panel.contour(mask.T, [0.5], colors=color, linewidths=0.7)
