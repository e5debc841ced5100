"""The tenants file: who the tenants are, and where their secrets come from."""
