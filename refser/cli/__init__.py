"""The command line: one module per command, and the only code that prints or exits.

Spec: spec/command-line.md (CL).  Not here: anything about files (api and what it stands on).
"""
