"""faqlab: a workbench for building a voice assistant from an FAQ."""

__version__ = "0.2.0"
