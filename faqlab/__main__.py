"""The command `faqlab`, and `python -m faqlab`."""

import signal


def main() -> None:
    """Run the command line, which Ctrl-C ends at once and without a traceback, even while modules are imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from faqlab import cli

    cli.main()


if __name__ == "__main__":
    main()
