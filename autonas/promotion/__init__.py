"""From an architecture to a model: full runs and what they leave behind."""
