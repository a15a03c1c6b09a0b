"""Looks for scans in a folder, so that a user can choose: `python -m ParanasalSSLLib.cli.search`.

Its arguments are the folder, a folder that is not searched (the results'), and the file for the list
(`scan_list`), in which the scans are numbered. See `beside`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ParanasalSSLLib.cli.beside import Tell, run_beside
from ParanasalSSLLib.cli.events import Note, Summary
from ParanasalSSLLib.cli.scan_list import write_scan_list
from ParanasalSSLLib.cli.searched import found_in


def search(folder: Path, without: Path, listed: Path, tell: Tell) -> Summary:
    """Search and write the list."""
    found = found_in(folder, without)
    write_scan_list(listed, {str(n): scan for n, scan in enumerate(found.scans, start=1)})
    for sentence in found.sentences():
        tell(Note(sentence))
    return Summary(done=len(found.scans), out=str(listed))


if __name__ == "__main__":
    FOLDER, WITHOUT, LISTED = map(Path, sys.argv[1:])
    sys.exit(run_beside(lambda tell: search(FOLDER, WITHOUT, LISTED, tell)))
