"""Faults that the daemon must survive. Each is inflicted on a real daemon and measured."""
