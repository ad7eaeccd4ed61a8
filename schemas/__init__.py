"""What is true: settings, source contract, tables, rules of counting.

Imports no I/O and nothing from tasks or flows.
"""
