"""Settings of `paranasal adapt`. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True, kw_only=True)
class AdaptConfig:
    """Unlabelled scans of a site + a bundle -> a bundle for that site.

    Sinuses that can be taken as clear are chosen by the model and by their shape, disease is painted
    into them, and the sinus networks learn a little more from that, each without one part of the
    persons, who then set threshold and calibration. Beside the bundle OUTPUT lies OUTPUT.report, with
    adaptation.html: what was used and why, and figures before and after. No name and no path of the
    scans is written. A stopped call is resumed by the same command. Research use only.
    """

    scans: list[Path] | None = None
    """BIDS folder; or table (.csv, .tsv) with the columns path and patient; or scans, two or more
    (NIfTI, NRRD, MetaImage, DICOM folder, zip). Scans of one person are kept together: by `sub-...`
    in the path, else by their folder where they lie in several, else each is a person of its own.
    """
    scan_list: Path | None = None
    """File of scans, in place of SCANS, as programs that run this write it (as for `predict`;
    unset: none).
    """
    bundle: Path | None = None
    """Folder of the bundle to start from; it is not changed (unset: the shipped one)."""
    donors: list[Path] = field(default_factory=list)
    """Stores of `paint-sinuses` that keep the old knowledge in: half of each batch comes from them
    (unset: old and new weights are averaged in place of that, see `keep_old`).
    """
    keep_old: float = 0.3
    """Part of the old weights in the new ones where there are no donors, 0 to 1."""
    name: str = "site"
    """What the version of the bundle is to end in, letters, digits, - and _."""
    diseased: float = 0.33
    """Part of the site's sinuses that may be diseased, 0 to 1: so many of each kind of scan, those that
    the model finds most suspicious, are not learnt from where it suspects many."""
    samples: int = 960
    """Samples painted from the site's scans, 16 or more."""
    steps: int = 200
    """Steps of fine-tuning of each network, 1 or more."""
    batch_size: int = 8
    """Samples in a batch, 2 or more."""
    learning_rate: float = 5e-4
    """Highest learning rate of the fine-tuning, above 0."""
    judged: int = 120
    """Painted samples that each network is judged by, before and after, at most."""
    specificity: float = 0.95
    """Fraction of clear sides of left-out persons, as they are, to be called clear, 0 to 1."""
    processes: int | None = None
    """Processes that work at the same time, 1 or more (unset: one for each core, four at most)."""
    seed: int = 0
    """Seed of all samples and of the fine-tuning, a whole number of 0 or more."""
    key: Path | None = None
    """CSV file that will say which path each scan of the report was; private (unset: none)."""
    json_progress: bool = False
    """Print one JSON object per line on standard output and nothing else (default: a bar)."""
    end_with_input: bool = False
    """Stop when standard input ends: for programs that run this (default: it does not matter)."""

    def __post_init__(self) -> None:
        if self.scans is None and self.scan_list is None:
            raise BadConfig("SCANS must be given")
        if self.scans is not None and self.scan_list is not None:
            raise BadConfig("--scan-list says by itself what is adapted to")
        if self.samples < 16 or self.steps < 1 or self.batch_size < 2 or self.judged < 1:
            raise BadConfig("samples is 16 or more, steps and judged 1, batch_size 2 or more.")
        if not 0 <= self.keep_old <= 1 or not 0 < self.specificity < 1 or self.learning_rate <= 0:
            raise BadConfig(
                "keep_old lies in 0 to 1, specificity between 0 and 1; learning_rate is above 0."
            )
        if not 0 < self.diseased < 1:
            raise BadConfig("diseased lies between 0 and 1.")
        if self.processes is not None and self.processes < 1:
            raise BadConfig("processes is 1 or more.")
        if self.seed < 0:
            raise BadConfig("seed is 0 or more.")
        if not self.name or not self.name.replace("-", "").replace("_", "").isalnum():
            raise BadConfig(f"name {self.name!r}: use letters, digits, - and _ only.")
