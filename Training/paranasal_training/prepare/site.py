"""`paranasal prepare`: a site's scans -> a crop store, cut exactly as `paranasal predict` cuts.

Beside the store CROPS lies CROPS.quality: `review.md` (what needs a human eye, and why),
`quality.csv` (every figure of every scan) and `boxes-001.png`, ... (every box, to look through).
No name and no path of the source is written unless `keep_ids` or `key` asks for it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paranasal_training.data.store import StoreWriter
from paranasal_training.prepare.config import PrepareConfig
from paranasal_training.prepare.parallel import do_scans
from paranasal_training.prepare.review import (
    ShownScan,
    draw_sheets,
    write_quality_table,
    write_review,
)
from paranasal_training.prepare.scans import Scan, read_hand_boxes, read_scans
from paranasal_training.prepare.tables import SPLITS
from paranasal_training.prepare.work import (
    CROP_BYTES,
    PICTURE_BYTES,
    RESUME_HINT,
    Outcome,
    ScanJob,
    find_outcome,
    plan_job,
    read_crops,
)
from ParanasalSSLLib.boxes.registration import RegistrationConfig
from ParanasalSSLLib.crop import CropConfig
from ParanasalSSLLib.errors import BadConfig, BadStore
from ParanasalSSLLib.files import (
    alone,
    keep_users_files,
    refuse_no_folder,
    sha256,
    write_json,
    write_whole,
    write_whole_folder,
)
from ParanasalSSLLib.results.record import software_version
from ParanasalSSLLib.sinuses import Side

CHECKSUMS = "checksums.json"  # of the files beside it; one that differs was changed by a user


def prepare(config: PrepareConfig, output: Path) -> Path:
    """Cut the sinuses of all scans into a crop store; returns its folder.

    Raises:
        BadConfig: the table, the BIDS folder or an option makes no sense, or a scan stands under two
            patients.
        BadBoxes: a damaged file of boxes.
        BadStore: the output is there already, no space is left, or no scan gave a crop.
        UnsafeOutput: another process is preparing this output; CROPS.quality is no folder.
    """
    output = Path(output).absolute()
    with alone(output, wait=False, purpose="prepare."):
        return _prepare(config, output)


def _prepare(config: PrepareConfig, output: Path) -> Path:
    passing = output.with_name(f".{output.name}.prepare")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        if _is_used_up(passing, output):  # the last call was killed just after it had ended
            shutil.rmtree(passing, ignore_errors=True)
        raise BadStore(f"{output} is there already. Choose another folder, or remove it.")
    quality = output.with_name(f"{output.name}.quality")
    refuse_no_folder(quality)
    scans = read_scans(config.scans, config.suffix, _tell)
    _tell(labels_in_words(scans))
    boxes = read_hand_boxes(config.boxes, scans)
    ids = patient_ids(scans, config.keep_ids)
    if config.key is not None:
        write_key(scans, ids, config.key, output)
    work = _kept(config.kept, output) or passing
    jobs = [
        plan_job(scan, work, config.jitter, config.jitter_sd, config.seed, boxes.get(scan.number))
        for scan in scans
    ]
    _refuse_full_disk(jobs, output)
    outcomes = do_scans(jobs, config.processes)
    seen = [
        ShownScan(
            ids[scan.patient], outcome, scan.modality, tuple(_left_out(scan, outcome)), scan.labels
        )
        for scan, outcome in zip(scans, outcomes, strict=True)
    ]
    _write_quality(jobs, seen, quality)
    _write_store(config, scans, jobs, seen, output)
    shutil.rmtree(passing, ignore_errors=True)
    _print_verdicts(scans, seen, quality)
    return output


def _kept(folder: Path | None, output: Path) -> Path | None:
    """The whole path of the folder that keeps what was cut. Raises `BadConfig`: it is in the store."""
    if folder is None:
        return None
    if folder.absolute().is_relative_to(output):
        raise BadConfig(f"kept {folder} would lie in the store. Choose another folder.")
    refuse_no_folder(folder)
    return folder.absolute()


def _is_used_up(work: Path, output: Path) -> bool:
    """Whether results of single scans have all gone into a store: all are older."""
    try:
        made = (output / "store.json").stat().st_mtime_ns
        return all(result.stat().st_mtime_ns < made for result in work.iterdir())
    except OSError:
        return False


def _tell(words: str) -> None:
    """On the terminal, by the source's own names, which are written nowhere."""
    print(f"Note: {words}", file=sys.stderr)


def labels_in_words(scans: list[Scan]) -> str:
    """How many labels of which kind there are, so that what was misread is seen before the work."""
    of_sinuses = {(s.patient, side): label for s in scans for side, label in s.labels.items()}
    label = Counter(found.label for found in of_sinuses.values())
    patients = {scan.patient: scan.split for scan in scans}
    without = len(Side) * len(patients) - len(of_sinuses)
    words = f"labels of {len(patients)} patients: {label[0]} sinuses normal, {label[1]} anomalous, "
    words += f"{without} without a label; "
    parts = Counter(split for split in patients.values() if split)
    given = ", ".join(f"{name} {parts[name]}" for name in SPLITS if parts[name])
    return words + (f"patients by the column split: {given}." if given else "no column split.")


def patient_ids(scans: list[Scan], keep: bool) -> dict[str, str]:
    """Source's id -> id in the table: the same, or p0001, ... in the order of the scans."""
    patients = list(dict.fromkeys(scan.patient for scan in scans))
    return {p: p if keep else f"p{n:04d}" for n, p in enumerate(patients, start=1)}


def write_key(scans: list[Scan], ids: dict[str, str], path: Path, output: Path) -> None:
    """Write which patient and path each scan is. Not into the store, and over no other file."""
    path = path.absolute()
    if path.is_relative_to(output):
        raise BadConfig(f"key {path} would lie in the store. It is private: put it elsewhere.")
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["scan", "patient", "source_patient", "path"])
    writer.writerows([s.number, ids[s.patient], s.patient, s.name] for s in scans)
    content = text.getvalue().encode()
    if path.exists() and (not path.is_file() or path.read_bytes() != content):
        raise BadConfig(f"key {path} is there already, for other scans. Choose another name.")
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def _refuse_full_disk(jobs: list[ScanJob], output: Path) -> None:
    """Crops lie on the disk twice until the store is written: as results, and in the store."""
    crops = len(Side) * (1 + jobs[0].jitter) * CROP_BYTES
    todo = sum(find_outcome(job) is None for job in jobs)
    needed = len(jobs) * (crops + PICTURE_BYTES) + todo * (crops + PICTURE_BYTES)
    folder = next(parent for parent in output.parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadStore(
            f"{output} needs {needed / 1e9:.1f} GB while it is made, {free / 1e9:.1f} GB are free "
            f"in {folder}. Make room, or choose another disk. {RESUME_HINT}"
        )


# -------------------------------------------------------------------------------------- output


def _left_out(scan: Scan, outcome: Outcome) -> Iterator[str]:
    """What else of the scan does not come into the store, in words."""
    there = {side for side, _ in outcome.crops}
    if not there:
        return
    if scan.remark:
        yield scan.remark
    for side in Side:
        if side.value not in there:
            yield f"There is no box of the {side.value} sinus."
        elif not _is_used(scan, side):
            yield f"The {side.value} sinus has no label, but its patient is in {scan.split}."


def _is_used(scan: Scan, side: Side) -> bool:
    """False for sinuses without label of patients that are held back: nothing learns from them."""
    return side in scan.labels or scan.split not in ("validation", "test")


def _write_quality(jobs: list[ScanJob], seen: list[ShownScan], folder: Path) -> None:
    def take_over(older: Path, new: Path) -> None:
        keep_users_files(older, new, _as_written(older))

    with write_whole_folder(folder, take_over) as new:
        draw_sheets(
            seen,
            lambda scan: read_crops(jobs[scan.outcome.number - 1], scan.outcome).pictures,
            new,
        )
        write_quality_table(seen, new / "quality.csv")
        write_review(seen, new / "review.md")
        write_json(new / CHECKSUMS, {path.name: sha256(path) for path in new.iterdir()})


def _as_written(folder: Path) -> dict[str, str | None]:
    """SHA-256 of the files of an older quality folder as they were written, by their names."""
    try:
        sums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return {str(name): str(checksum) for name, checksum in sums.items()} | {CHECKSUMS: None}
    except (OSError, ValueError, AttributeError):
        return {}


def _write_store(
    config: PrepareConfig,
    scans: list[Scan],
    jobs: list[ScanJob],
    seen: list[ShownScan],
    output: Path,
) -> None:
    rows = [list(_rows(scan, shown)) for scan, shown in zip(scans, seen, strict=True)]
    count = sum(map(len, rows))
    if not count:
        raise BadStore(
            f"None of the {len(scans)} scans gave crops; see {output}.quality/review.md. {RESUME_HINT}"
        )
    known: dict[str, Scan] = {}
    with StoreWriter(output, count, info=_info(config, seen)) as writer:
        for scan, job, shown, lines in tqdm(
            list(zip(scans, jobs, seen, rows, strict=True)), desc="store", unit="scan"
        ):
            crops = read_crops(job, shown.outcome).crops
            for index, row in lines:
                checksum = hashlib.sha256(crops[index].tobytes()).hexdigest()
                _refuse_copy(scan, known.setdefault(checksum, scan))
                writer.append(crops[index], row | {"checksum": checksum})


def _refuse_copy(scan: Scan, first: Scan) -> None:
    """Raise `BadConfig` for a scan of another patient that gave the same crop, voxel by voxel."""
    if scan.patient != first.patient:
        raise BadConfig(
            f"{scan.place}: {scan.name} of patient {scan.patient} is a copy of {first.name} of patient "
            f"{first.patient} ({first.place}). One scan could be trained on and tested: keep one. "
            f"{RESUME_HINT}"
        )


def _rows(scan: Scan, seen: ShownScan) -> Iterator[tuple[int, dict[str, Any]]]:
    """(place in the result file, row of the table) of every crop that is used."""
    for index, (name, jitter) in enumerate(seen.outcome.crops):
        side = Side(name)
        label = scan.labels.get(side)
        if not _is_used(scan, side):
            continue
        yield (
            index,
            {
                "patient": seen.patient,
                "side": side.value,
                "class": label.kind if label else None,
                "label": label.label if label else None,
                "split": (scan.split or "labelled") if label else "unlabelled",
                "source": "scan",
                "quality": seen.outcome.verdict,
                "jitter": jitter,
                "scan": scan.number,
                "modality": seen.modality or seen.outcome.modality,
            },
        )


def _info(config: PrepareConfig, seen: list[ShownScan]) -> dict[str, Any]:
    """How the store was made, without a path of this machine."""
    return {
        "simulated": False,
        "software": software_version(),
        "scans": len(seen),
        "verdicts": dict(Counter(scan.outcome.verdict for scan in seen)),
        "config": {
            "suffix": config.suffix,
            "boxes": config.boxes is not None,
            "jitter": config.jitter,
            "jitter_sd": asdict(config.jitter_sd),
            "seed": config.seed,
        },
        "crop": asdict(CropConfig()),
        "search": asdict(RegistrationConfig()),
    }


def _print_verdicts(scans: list[Scan], seen: list[ShownScan], quality: Path) -> None:
    """On the terminal, failed scans by their own names, which are written nowhere."""
    verdicts = Counter(scan.outcome.verdict for scan in seen)
    for scan, shown in zip(scans, seen, strict=True):
        if shown.outcome.verdict == "failed":
            print(f"Failed: {scan.name}: {' '.join(shown.outcome.reasons)}", file=sys.stderr)
    words = f"{verdicts['ok']} ok, {verdicts['review']} to review, {verdicts['failed']} failed"
    print(f"{len(scans)} scans: {words}. Look at {quality / 'review.md'} and the sheets beside it.")
