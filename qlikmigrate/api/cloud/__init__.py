"""Qlik Cloud."""
