"""Adapt to eight heads of `site/`, with disease painted into 40 % of the scans; try on four others.

    python Training/results/adapt/demonstrate.py --data ../shared/data --work DEMO --bundle BUNDLE \
        --references STORE/references --weights RUN/sinus.safetensors

Writes `figures.csv` and `choices.csv` beside itself. What is done lies in the work folder; the same
command goes on where it was stopped. README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from paranasal_training.adapt.adapt import adapt, report_folder
from paranasal_training.adapt.config import AdaptConfig
from paranasal_training.release.unseen_figures import LESION_ML, SIZES_ML
from paranasal_training.sinus.batches import SinusSamples
from paranasal_training.sinus.evaluation import score_samples
from paranasal_training.sinus.painting import draw_kind, paint
from paranasal_training.sinus.references import Reference, load_reference, read_table
from paranasal_training.sinus.scanning import Canvas, identity_table
from paranasal_training.sinus.shards import write_store
from paranasal_training.sinus.training import load_sinus_networks
from sklearn.metrics import roc_auc_score

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.geometry import apply_affine
from ParanasalSSLLib.model.bundle import Bundle, load_bundle
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.card import BundleCard
from ParanasalSSLLib.model.opacity import evidence_margin
from ParanasalSSLLib.model.sinus_network import SinusEnsemble
from ParanasalSSLLib.model.torch_networks import load_torch_networks
from ParanasalSSLLib.predict import predict_scan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume, write_volume

HERE = Path(__file__).parent
TESTED = ("site-03", "site-06", "site-09", "site-12")
DISEASED = 0.4  # of the scans
BOTH = 0.3  # of those, on both sides
SPECIFICITY = 0.95


def main() -> None:
    """Make the two sites, adapt to each, try all three bundles."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--work", type=Path, required=True)
    words.add_argument("--bundle", type=Path, required=True, help="to be adapted")
    words.add_argument(
        "--weights",
        type=Path,
        help="take the place of the bundle's networks: of a run without the site",
    )
    words.add_argument("--references", type=Path, required=True, help="of paint-sinuses")
    words.add_argument("--tests", type=int, default=240, help="painted samples of the tested heads")
    words.add_argument(
        "--clear", type=int, default=96, help="samples of their clear sides as they are"
    )
    words.add_argument("--samples", type=int, default=640, help="of the adaptation")
    words.add_argument("--steps", type=int, default=200, help="of the adaptation")
    words.add_argument("--judged", type=int, default=80, help="of the adaptation")
    words.add_argument("--sites", nargs="+", default=["diseased", "clear"])
    options = words.parse_args()
    torch.set_num_threads(1)
    truth = make_sites(options.data, options.references, options.work)
    options.bundle = starting_bundle(options)
    bundles = {"before": options.bundle}
    rows = []
    for site in options.sites:
        bundles[site] = adapted(site, options)
        rows += in_the_site(site, choices(site, truth, options.work, bundles[site]))
    stores = options.work / "painted", options.work / "clear_sides"
    write_store(stores[0], options.references, options.tests, TESTED, seed=77)
    write_store(stores[1], options.references, options.clear, TESTED, seed=78, as_they_are=True)
    everybody = {r.group for r in read_table() if r.scan.startswith("site/")}
    unseen = as_they_are(load_bundle(options.bundle), options.data, everybody, "all twelve heads, ")
    rows += [{"bundle": "before", **one} for one in unseen]
    for name, folder in bundles.items():
        bundle = load_bundle(folder)
        rows += [{"bundle": name, **one} for one in as_they_are(bundle, options.data, TESTED, "")]
        networks = load_torch_networks(folder).sinus
        assert networks is not None
        painted = as_painted(networks, bundle.card, *stores)
        rows += [{"bundle": name, **one} for one in painted]
    with write_whole(HERE / "figures.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    print(pd.DataFrame(rows).to_string())


def starting_bundle(options: argparse.Namespace) -> Path:
    """The bundle to be adapted; with `--weights` as its networks, at the same threshold."""
    if options.weights is None:
        return Path(options.bundle)
    folder: Path = options.work / "bundle_before"
    if not folder.exists():
        bundle = load_bundle(options.bundle)
        assert bundle.card.sinus is not None
        networks = load_sinus_networks([options.weights])
        reading = replace(bundle.card.sinus, network=networks.config, members=1)
        made = replace(load_torch_networks(options.bundle), sinus=networks)
        card = replace(bundle.card, sinus=reading, version=f"{bundle.card.version}-without-site")
        save_bundle(Bundle(card, made, bundle.residual_thresholds), folder)
    return folder


def adapted(site: str, options: argparse.Namespace) -> Path:
    """The bundle of a site; made unless it is there."""
    output: Path = options.work / f"bundle_{site}"
    if not output.exists():
        began = time.process_time(), time.monotonic()
        config = AdaptConfig(
            scans=[options.work / site], bundle=options.bundle, samples=options.samples,
            steps=options.steps, judged=options.judged, processes=1, name=site,
        )  # fmt: skip
        adapt(config, output)
        cpu, wall = time.process_time() - began[0], time.monotonic() - began[1]
        print(f"{site}: {cpu:.0f} s of CPU, {wall:.0f} s")
    return output


# ---------------------------------------------------------------------------------------- sites


def make_sites(data: Path, references: Path, work: Path) -> pd.DataFrame:
    """`work/clear`: the scans as they are; `work/diseased`: disease in 40 %. What was painted where."""
    rng = np.random.default_rng(11)
    rows = [r for r in read_table() if r.scan.startswith("site/") and r.group not in TESTED]
    painted = []
    for scan in dict.fromkeys(one.scan for one in rows):
        sides = [one.side for one in rows if one.scan == scan and one.use]
        ill = rng.random() < DISEASED
        chosen = (
            (sides if rng.random() < BOTH else [sides[rng.integers(len(sides))]]) if ill else []
        )
        inside = Path(scan).relative_to("site")
        copied(data / scan, work / "clear" / inside)
        volume = read_volume(data / scan) if chosen else None
        for side in chosen:
            name = f"{Path(scan).name.split('.')[0]}_{side}.npz"
            assert volume is not None
            volume, facts = with_disease(volume, load_reference(references / name), rng)
            painted.append({"scan": inside.name.split(".")[0], "side": side.value, **facts})
        target = work / "diseased" / inside
        if volume is None:
            copied(data / scan, target)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_volume(volume, target)
    return pd.DataFrame(painted)


def copied(source: Path, target: Path) -> None:
    """A copy, unless it is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(source, target)


def with_disease(
    volume: Volume, reference: Reference, rng: np.random.Generator
) -> tuple[Volume, dict[str, object]]:
    """The scan with a lesion of 0.5 ml or more in one sinus, in its own voxels."""
    canvas, table = Canvas(reference), identity_table()
    while True:
        kind = draw_kind(rng)
        if kind == "clear":
            continue
        painting = paint(canvas.cavity, canvas.tissue(table), kind, rng, healthy=False)
        ml = float(painting.opacity.sum()) / 1000
        if ml >= LESION_ML:
            break
    start = np.rint(-reference.image_bounds[0]).astype(int)
    centre = apply_affine(reference.box_to_native, np.zeros(3)) + start
    box = SinusBox(reference.side, apply_affine(volume.affine, centre))
    low, high = cut_crop(volume, box).window
    added = canvas.painted(painting, table) - canvas.painted(None, table)
    data = volume.data.astype(np.float32).copy()
    window = tuple(slice(a, a + n) for a, n in zip(start, added.shape, strict=True))
    data[window] += added * (high - low)
    facts = {"kind": kind, "ml": round(ml, 2), "of_ml": round(reference.cavity_ml, 1)}
    return Volume(data, volume.affine), facts | {"signal": round(painting.level, 3)}


# ---------------------------------------------------------------------------------------- trying


def choices(site: str, truth: pd.DataFrame, work: Path, bundle: Path) -> pd.DataFrame:
    """Which sides were used, beside what was painted into them; written, too."""
    sides = pd.read_csv(report_folder(bundle) / "sides.csv")
    subjects = sorted(path.name for path in (work / site).glob("sub-*"))
    kinds = {"flair": "FLAIR", "t1": "T1w"}
    sides["scan"] = [
        f"{subjects[int(person[1:]) - 1]}_{kinds[modality]}"
        for person, modality in zip(sides["person"], sides["modality"], strict=True)
    ]
    if site == "diseased":
        sides = sides.merge(truth, on=["scan", "side"], how="left")
    with write_whole(HERE / f"choices_{site}.csv") as temporary:
        sides.drop(columns=["person"]).to_csv(temporary, index=False)
    return sides


def in_the_site(site: str, sides: pd.DataFrame) -> Iterator[dict[str, object]]:
    """The scans adapted to, before and after (by networks that have not learnt from the person)."""
    ill = sides["kind"].notna() if "kind" in sides else pd.Series(False, sides.index)
    after = {
        "probability": "after",
        "called_before": "called_after",
        "opacity_ml": "opacity_ml_after",
    }
    for when, names in (("before", {name: name for name in after}), (site, after)):
        said = {name: sides[column] for name, column in names.items()}
        called, of_clear = said["called_before"], said["opacity_ml"][~ill].mean()
        figures = [row("its clear sides called clear", (~ill).sum(), 1 - called[~ill].mean())]
        figures += [row("ml marked in its clear sides, mean", (~ill).sum(), of_clear)]
        if ill.any():
            auroc = roc_auc_score(ill, said["probability"])
            figures += [row("its diseased sides called", ill.sum(), called[ill].mean())]
            figures += [row("AUROC of the probability, its sides", len(sides), auroc)]
        yield from ({"bundle": when, **one} | {"what": f"{site}: {one['what']}"} for one in figures)


def as_they_are(
    bundle: Bundle, data: Path, persons: Collection[str], whose: str
) -> Iterator[dict[str, object]]:
    """Clear sides of persons, by kind of scan: how many are called clear."""
    rows = [r for r in read_table() if r.group in persons and r.use]
    called: dict[str, list[bool]] = {}
    for scan in dict.fromkeys(one.scan for one in rows):
        result = predict_scan(data / scan, bundle)
        for one in rows:
            if one.scan == scan and one.side in result.sinuses:
                called.setdefault(one.modality, []).append(result.sinuses[one.side].anomalous)
    for modality, answers in called.items():
        clear = len(answers) - sum(answers)
        yield row(
            f"{whose}{modality}, clear sides called clear", len(answers), clear / len(answers)
        )


def as_painted(
    networks: SinusEnsemble, card: BundleCard, painted: Path, clear: Path
) -> Iterator[dict[str, object]]:
    """Painted disease in the tested heads, at the threshold that calls 95 % of clear sides clear."""
    scored, healthy = (
        score_samples(networks, samples, TESTED, len(samples.table))
        for samples in (SinusSamples([painted]), SinusSamples([clear]))
    )
    evidence, ml = scored["seen_evidence"].to_numpy(), scored["opacity_ml"].to_numpy()
    of_clear = healthy["seen_evidence"].to_numpy()
    threshold = np.quantile(of_clear, SPECIFICITY)
    own, alarms = (_called(card, one) for one in (evidence, of_clear))
    yield row(
        "clear sides in moved boxes called clear, own threshold", len(alarms), 1 - alarms.mean()
    )
    for low, high in SIZES_ML:
        of_size = (ml >= low) & (ml < high)
        n, words = of_size.sum(), f"painted {low:g} to {high:g} ml found"
        yield row(f"{words}, at 95 % of clear sides", n, (evidence[of_size] > threshold).mean())
        yield row(f"{words}, own threshold", n, own[of_size].mean())
    auroc = np.mean([(e > of_clear).mean() for e in evidence[ml >= LESION_ML]])
    yield row("AUROC, clear sides against painted 0.5 ml and more", len(ml), auroc)
    yield row("mean Dice of the cavity", len(ml), scored["dice_cavity"].mean())


def _called(card: BundleCard, evidence: np.ndarray) -> np.ndarray:
    assert card.sinus is not None
    margins = np.array([evidence_margin(float(one)) for one in evidence])
    probability = np.array([card.sinus.calibration.probability(m) for m in margins])
    return probability >= card.decision_threshold


def row(what: str, n: int, share: float) -> dict[str, object]:
    """A figure: of how many, and how much of them."""
    return {"what": what, "n": int(n), "share": round(float(share), 3)}


if __name__ == "__main__":
    main()
