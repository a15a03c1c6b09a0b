"""Several commands in one process: `python -m paranasal_training.workflow.several 'finetune ...' ...`

Start-up, seconds of imports, is paid once. Each word is what would follow `paranasal`. A command that
fails does not keep the others from running; Ctrl-C does.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.cli.stopping import STOPPED


def run_all(commands: Sequence[str]) -> int:
    """Run the commands, one after another; returns the exit status of the first that failed, or 0."""
    failed = 0
    for command in commands:
        status = main(shlex.split(command))
        if status == STOPPED:
            return status
        failed = failed or status
    return failed


if __name__ == "__main__":
    sys.exit(run_all(sys.argv[1:]))
