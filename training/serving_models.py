"""Export the encoders of the configuration and of the baseline, unless the cache has them: `make models`."""

from __future__ import annotations

import sys

from faqlab.config import BASELINE, RetrievalConfig
from faqlab.encoder import load_encoder
from faqlab.errors import FaqlabError
from faqlab.settings import settings


def main() -> None:
    """Load both encoders, which exports them at the first time."""
    for config in (BASELINE, RetrievalConfig.load(settings().retrieval)):
        load_encoder(config.encoder, settings().cache_dir)


if __name__ == "__main__":
    try:
        main()
    except FaqlabError as error:
        sys.exit(f"faqlab: {error}")
