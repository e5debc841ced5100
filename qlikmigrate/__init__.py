"""Back up, migrate and clone Qlik Automate content.

Importing this package loads no HTTP code.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
