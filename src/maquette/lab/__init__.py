"""Studies: claims, verdicts, the runner, scaling laws, figures, reports."""
