"""What an exported folder carries where `transformers` has no class that is exactly the architecture: copied there.

Both files import torch and transformers and nothing of autonas.
"""
