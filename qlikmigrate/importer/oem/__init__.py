"""Recreating automations in an account of Qlik Application Automation for OEM."""
