"""Values that every room may use. No I/O but the clock's."""
