"""Are there known vulnerabilities in what constraints.txt pins? pip-audit asks PyPI's service.

    make audit

Where that service cannot be reached, pip-audit may say "No known vulnerabilities found" all the
same. So an old version with a published vulnerability is asked about, too: where that is not
found, the answer here is "not run". The exit status is 1 only where something is found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONTROL = "urllib3", "1.26.4"  # CVE-2021-33503
COMMAND = [
    "-m",
    "pip_audit",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner",
    "off",
    "-f",
    "json",
    "-r",
]


def answer(requirements: str) -> list[dict[str, Any]]:
    """What pip-audit says of each pinned package; [] where it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(requirements)
        ran = subprocess.run([sys.executable, *COMMAND, str(path)], capture_output=True, text=True)
    try:
        return json.loads(ran.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return []


def found(packages: list[dict[str, Any]]) -> dict[str, list[str]]:
    """ "name version" -> the names of its vulnerabilities, where it has any."""
    return {
        f"{package['name']} {package['version']}": [known["id"] for known in package["vulns"]]
        for package in packages
        if package.get("vulns")
    }


def judge(packages: list[dict[str, Any]], control: list[dict[str, Any]]) -> tuple[str, int]:
    """The line to print, and the exit status."""
    if not found(control):
        return "audit: not run: the service cannot be reached, or does not answer", 0
    audited = [package for package in packages if "vulns" in package]
    vulnerable = found(packages)
    lines = [f"{name}: {', '.join(ids)}" for name, ids in sorted(vulnerable.items())]
    lines.append(
        f"audit: {len(audited)} of {len(packages)} packages audited, "
        f"{len(vulnerable)} with known vulnerabilities"
    )
    return "\n".join(lines), int(bool(vulnerable))


def main() -> int:
    control = answer("==".join(CONTROL) + "\n")
    packages = answer((ROOT / "constraints.txt").read_text()) if found(control) else []
    line, status = judge(packages, control)
    print(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
