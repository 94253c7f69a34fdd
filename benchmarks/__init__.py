"""How fast asyncinfer is, beside floors measured in the same run: `python -m benchmarks --help`."""
