"""Settings of a comparison. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """`paranasal compare`: what to compare, and what to call it."""

    runs: Path
    """Folder of the scored runs, `METHOD/PERCENT/foldK` in it."""
    output: Path
    """Folder for tables, figures and `page.html`."""
    rows: tuple[str, ...]
    """Methods in the order of the table's rows, each named once."""
    percents: tuple[int, ...]
    """Percentages of the training patients with labels, 1 to 100, ascending."""
    title: str
    """Title of the page."""
    simulated: bool
    """Whether the crops are simulated; the page then says so."""
    folds: int | None = None
    """Folds to read, from the first, 1 or more (unset: all that are there)."""
    ours: str = "residual"
    """Method of `rows` that all others are compared with."""
    titles: dict[str, str] = field(default_factory=dict)
    """What methods are called, by their names; others go by their names."""
    open_reasons: dict[str, str] = field(default_factory=dict)
    """Why methods have not been run, by their names."""
    notes: tuple[str, ...] = ()
    """Paragraphs at the top of the page."""
    experiment: dict[str, str] = field(default_factory=dict)
    """How it was run, by subject: command, preset. The page has the runs' machines by itself."""
    resamples: int = 2000
    """Bootstrap samples of the test patients, 1000 or more."""
    seed: int = 0
    """Seed of the bootstrap, a whole number of 0 or more."""

    def __post_init__(self) -> None:
        if len(set(self.rows)) < len(self.rows) or self.ours not in self.rows:
            raise BadConfig(f"rows names every method once, and {self.ours} (ours) among them.")
        ascending = tuple(sorted(set(self.percents)))
        if (
            not ascending
            or self.percents != ascending
            or not 0 < ascending[0] <= ascending[-1] <= 100
        ):
            raise BadConfig(f"percents are 1 to 100 in ascending order, not {self.percents}.")
        if self.folds is not None and self.folds < 1:
            raise BadConfig(f"folds is 1 or more, not {self.folds}.")
        unknown = {*self.titles, *self.open_reasons} - set(self.rows)
        if unknown:
            raise BadConfig(f"titles and open_reasons name {sorted(unknown)}, which rows lacks.")
        if self.resamples < 1000:  # fewer cannot give a p that Holm's correction leaves small
            raise BadConfig(f"resamples is 1000 or more, not {self.resamples}.")
