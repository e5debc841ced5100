"""Words and wiring: one module a command group, loaded when its command is used. No decisions."""
