"""Shows what an experiment measured: claims and verdicts, figures, plots, the report page. It knows no science."""
