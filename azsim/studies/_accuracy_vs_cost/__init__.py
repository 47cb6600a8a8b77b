"""Parts of the study accuracy_vs_cost."""
