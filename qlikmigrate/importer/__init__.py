"""The only room that changes a tenant: plan (pure), apply (journalled), read back. A plan cannot write."""
