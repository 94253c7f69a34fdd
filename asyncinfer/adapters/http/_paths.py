"""The shapes of names in paths."""

import re

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a job, and of a delivery. Another text can be no job's, and is answered like an unknown one."""
ENDPOINT = re.compile(r"wh_[A-Za-z0-9_-]{1,61}")
"""Of a registered endpoint of webhooks."""
