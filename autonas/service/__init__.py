"""The HTTP service: what `autonas serve` answers, over the functions that the commands use. It has no logic of its own."""
