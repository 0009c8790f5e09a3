"""Tests, and the notebooks that are run as tests, leave alone what the learner has passed."""

import os

os.environ["WORKBOOK_PROGRESS"] = ""
