"""Qlik Application Automation for OEM, formerly Blendr.io."""
