"""What a tenant holds: kinds, documents, workspaces, inventories, snapshots. Pure values and views, no I/O."""
