"""`python .ci/skips.py REPORT.xml`: fail if a test was skipped for a reason that .ci/allowed_skips does not list."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

lines = Path(__file__).with_name("allowed_skips").read_text("utf-8").splitlines()
allowed = re.compile("|".join(f"(?:{line})" for line in lines if line and not line.startswith("#")))
cases = list(ET.parse(sys.argv[1]).iter("testcase"))
skips = [(case, skip.get("message"), skip.text) for case in cases for skip in case.iter("skipped")]
# pytest keeps the reason of a whole file in the element's text.
reasons = [(case, text if message == "collection skipped" else message) for case, message, text in skips]
refused = [f"{case.get('classname')}.{case.get('name')}: {why}" for case, why in reasons if not allowed.fullmatch(why)]
print(f"{len(cases)} tests, {len(skips)} skipped, {len(refused)} of them for a reason that is not allowed")
sys.exit("\n".join(refused) or int(not cases))
