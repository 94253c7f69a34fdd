"""The shapes of names in paths."""

import re

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a job. Another text can be no job's, and is answered like an unknown one."""
