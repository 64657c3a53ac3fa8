"""faqlab: a workbench for building a voice assistant from an FAQ."""

__version__ = "0.1.0"
