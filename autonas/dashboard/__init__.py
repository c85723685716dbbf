"""Optuna Dashboard on studies, for looking: what the ledger holds, with a note and files for each trial, made when they are
asked for. Nothing here writes. The home of Optuna Dashboard."""

from autonas.dashboard.serving import serve_dashboard

__all__ = ["serve_dashboard"]
