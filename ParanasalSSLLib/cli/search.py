"""Looks for scans in a folder, so that a user can choose: `python -m ParanasalSSLLib.cli.search`.

Its arguments are the folder, a folder that is not searched (the results'), and the file for the list
(`scan_list`), in which the scans are numbered. It speaks `events` and ends with its input; like `place`
it needs no package that Slicer does not ship.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ParanasalSSLLib.cli.events import CallFailed, Event, Note, Summary, to_json
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.scan_list import write_scan_list
from ParanasalSSLLib.cli.searched import found_in
from ParanasalSSLLib.cli.stopping import STOPPED, stop_with_input


def main(words: Sequence[str]) -> int:
    """Search and write the list; returns the exit status."""
    folder, without, listed = map(Path, words)
    stop_with_input()
    try:
        found = found_in(folder, without)
        write_scan_list(listed, {str(n): scan for n, scan in enumerate(found.scans, start=1)})
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        _tell(CallFailed(type(error).__name__, explain(error)))
        return 1
    for sentence in found.sentences():
        _tell(Note(sentence))
    _tell(Summary(done=len(found.scans), out=str(listed)))
    return 0


def _tell(event: Event) -> None:
    print(to_json(event), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
