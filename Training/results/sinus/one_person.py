"""Figures of left-out persons once more: `python one_person.py` makes one_person.csv of decisions.csv.

The site's heads 08, 09 and 10 are scans of one person (found after the bundle was made) who stands in
all three groups that networks left out: no network was judged on that person unknown. And the threshold
was chosen on the clear sides that it is reported on; here each person's is that of the others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).parent
ONE = ("site-08", "site-09", "site-10")
SPECIFICITY = 0.95
BANDS = {"0.5-1 ml": (0.5, 1), "1-2 ml": (1, 2), "2-5 ml": (2, 5), "over 5 ml": (5, np.inf)}


def threshold_of(samples: pd.DataFrame) -> float:
    """Evidence (logit) below which 95 % of the clear sides as they were scanned lie."""
    return float(samples.loc[samples["as_it_is"], "evidence"].quantile(SPECIFICITY))


def figures(name: str, samples: pd.DataFrame, threshold: float | pd.Series) -> dict[str, object]:
    """AUROC, clear sides called clear, and found by volume. threshold: one, or one a sample."""
    ml, called = samples["opacity_ml"], samples["evidence"] > threshold
    clear, painted = samples["as_it_is"], ml >= 0.5
    counted = painted | (ml == 0)
    single = threshold if isinstance(threshold, float) else np.nan
    return {
        "what": name,
        "persons": samples["person"].nunique(),
        "sides": samples[clear].groupby(["scan", "side"]).ngroups,
        "auroc": roc_auc_score(painted[counted], samples.loc[counted, "evidence"]),
        "threshold": 1 / (1 + np.exp(-single)),
        "called_clear": 1 - called[clear].mean(),
        **{band: called[(ml >= low) & (ml < high)].mean() for band, (low, high) in BANDS.items()},
    }


def main() -> None:
    """Write the table."""
    samples = pd.read_csv(HERE / "decisions.csv")
    everyone = samples.assign(person=samples["group"])
    joined = everyone.assign(person=samples["group"].where(~samples["group"].isin(ONE), ONE[0]))
    others = everyone[~everyone["group"].isin(ONE)]
    shipped = threshold_of(everyone)
    of_others = {p: threshold_of(joined[joined["person"] != p]) for p in joined["person"].unique()}
    unknown = others.assign(own=others["person"].map(of_others))
    rows = [
        figures("as the card has it", everyone, shipped),
        figures("without the three scans of one person, shipped threshold", others, shipped),
        figures("without them, threshold chosen without them", others, threshold_of(others)),
        figures("without them, each person's threshold from the others", unknown, unknown["own"]),
    ]
    pd.DataFrame(rows).round(3).to_csv(HERE / "one_person.csv", index=False)
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
