"""Can a model write the function that a docstring asks for? Tasks, stop rules, pass@k, likelihood, and baselines."""
