"""The two commands: parse, one call, report. The only place that exits."""
