"""Looking after tenants and archives: what a person asks now and then, or a scheduler every night."""
