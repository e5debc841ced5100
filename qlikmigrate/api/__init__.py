"""The wire: the only package that speaks HTTP. A tenant is changed or read through it, and through nothing else."""
