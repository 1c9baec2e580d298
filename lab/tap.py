# SPDX-License-Identifier: Apache-2.0
"""What a program says in TAP, the Test Anything Protocol, as bare guests do."""

import dataclasses
import re

LINE = re.compile(r"^(ok|not ok) (\d+) - (.*?)(?: # SKIP (.*))?$", re.MULTILINE)
PLAN = re.compile(r"^1\.\.(\d+)$", re.MULTILINE)
END = re.compile(r"^(done|Bail out!.*)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Check:
    """`words` say what was to hold, `found` what did instead, `reason` why it was skipped.
    `result` is "ok", "failed" or "skipped"."""

    words: str
    result: str
    found: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """`ending` is the program's last word: "done" if all is well; `planned` 0 without a plan."""

    checks: tuple
    planned: int
    ending: str

    @property
    def complete(self):
        return self.ending == "done" and self.planned == len(self.checks)

    @property
    def failed(self):
        return [check for check in self.checks if check.result == "failed"]


def parse(text):
    text = text.replace("\r", "")
    checks = []
    for verdict, _, words, reason in LINE.findall(text):
        result = "failed" if verdict == "not ok" else "skipped" if reason else "ok"
        words, _, found = words.partition(": found ") if result == "failed" else (words, "", "")
        checks.append(Check(words, result, f"found {found}" if found else "", reason))
    plan = PLAN.search(text)
    end = END.search(text)
    return Report(tuple(checks), int(plan[1]) if plan else 0, end[1] if end else "")
