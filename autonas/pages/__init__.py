"""Studies, runs and comparisons as HTML files that open offline. What they say is worked out in reporting/ and figures/."""
