"""Sweeps: many designs of model, scheme and chip, each timed, none twice and none lost."""
