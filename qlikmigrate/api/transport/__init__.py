"""One narrow interface and its decorators: base, log, limiter, auth, retry, guard, from the inside out."""
