"""faqlab: a workbench for the people who put a voice on an FAQ."""

__version__ = "0.1.0"
