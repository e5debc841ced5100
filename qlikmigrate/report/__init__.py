"""Results as values → text, JSON, Markdown."""
