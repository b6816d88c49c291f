"""What people read: the lines of a running attempt, the status of jobs, and what ``doctor`` finds on a machine.

Returns plain values and text; printing tables and exiting is the command line's business.
"""
