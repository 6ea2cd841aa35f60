#!/usr/bin/env python3
"""Counts what `meson test` ran, TAP line by TAP line, and closes with "N passed, N failed, N skipped"."""
import re, sys
import xml.etree.ElementTree as xml

passed = failed = skipped = 0
for folder in sys.argv[1:]:
    for suite in xml.parse(f"{folder}/meson-logs/testlog.junit.xml").getroot():
        for case in suite.findall("testcase"):
            if case.find("skipped") is not None:
                skipped += 1
            elif case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                print(f"failed: {folder}: {suite.get('name')}: {case.get('name')}")
            else:
                passed += 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0 or passed == 0)
