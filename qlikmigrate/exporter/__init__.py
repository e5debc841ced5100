"""Tenant → snapshot: what is asked for, in which order, and when the result may be called complete."""
