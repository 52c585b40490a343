"""Measurements, each beside a floor in the same run. Run by `make bench`; nothing here is a test."""
