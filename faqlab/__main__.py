"""The command `faqlab`, and `python -m faqlab`."""

import os
import signal
import sys


def main() -> None:
    """Run the command line, which Ctrl-C ends at once and without a traceback, even while modules are imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: PTH123, SIM115
    from faqlab import cli

    cli.main()


if __name__ == "__main__":
    main()
