"""From one tenant's ids to another's: matching, the mapping file, and rewriting of documents. Pure values, no I/O."""
