"""
Random and nearly right bytes for everything that reads what somebody else wrote.

A target is a function that takes bytes and raises where what reads them does anything but take or refuse
them. Hypothesis feeds the targets in the test run (`test_fuzz_*.py`), atheris for as long as wanted:

    cd tests && python -m fuzz payloads --seconds 600
"""
