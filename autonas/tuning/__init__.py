"""Instruction tuning: examples of a prompt and its solution, made part of a model that a run has trained."""
