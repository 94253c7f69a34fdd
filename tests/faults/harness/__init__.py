"""What fault tests share: processes to kill, witnesses that do not trust the store, bounded waits, figures.

A fault test runs a scenario, which gives Figures (a frozen record), and passes them to its `verdict`, which names the
broken promises. The test asserts that there is none; its canary runs the same scenario without the protection, and
asserts that there is one.
"""
