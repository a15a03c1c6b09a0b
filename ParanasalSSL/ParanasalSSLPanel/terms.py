"""The module's own terms for segments: Slicer's lists have neither "Lesion" nor "Maxillary sinus".

With them loaded, the terms of our segments can be chosen in the Segment Editor for others, and have
a colour of their own. The segments themselves do not depend on them: their names, colours and codes
are in their files, and Slicer shows these where the extension is not installed.
"""

from __future__ import annotations

from pathlib import Path

import slicer

FILES = ("ParanasalSSL.term.json", "ParanasalSSLRegions.term.json")


def loadTerms(folder: Path) -> None:
    """Make the terms in `folder` known to Slicer; does nothing where it has no Terminologies."""
    module = getattr(slicer.modules, "terminologies", None)
    if module is not None:
        for name in FILES:
            module.logic().LoadContextFromFile(str(folder / name))
