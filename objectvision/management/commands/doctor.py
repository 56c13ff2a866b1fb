from argparse import ArgumentTypeError
from collections import Counter
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.core.validators import validate_email
from rich.console import Console
from rich.table import Table
from rich.text import Text

from objectvision.doctor.checklist import all_checks
from objectvision.doctor.findings import Finding, Status, examine
from objectvision.doctor.services import connect_directly
from objectvision.lib import terminal

COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "bold red"}
Findings = list[tuple[str, Finding]]


class Command(terminal.TerminalCommand):
    help = (
        "Looks at everything that the system needs, and says what to do where something is wrong. The exit "
        "status is 1 if there are errors, 0 if there are warnings alone."
    )
    requires_system_checks = ()  # they are one of its findings

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="JSON for programs")
        parser.add_argument("--mail", type=parse_address, metavar="ADDRESS", help="send a test mail there")

    def handle(self, *, as_json: bool, mail: str | None, no_color: bool, **_: Any) -> None:
        connect_directly()
        checks = all_checks(mail)
        findings = list(self.progress(examine(checks), "Checking", len(checks)))
        if as_json:
            terminal.write_json(self.stdout, as_object(findings))
        elif self.stdout.isatty():
            Console(no_color=no_color or None).print(as_table(findings))
        else:
            self.stdout.write("".join(as_line(name, finding) for name, finding in findings))
        counts = Counter(finding.status for _, finding in findings)
        errors, warnings = counts[Status.ERROR], counts[Status.WARNING]
        self.close(f"Checks: {len(findings)}, errors: {errors}, warnings: {warnings}.", failed=errors)


def parse_address(text: str) -> str:
    try:
        validate_email(text)
    except ValidationError:
        raise ArgumentTypeError(f"{text!r} is no mail address") from None
    return text


def as_object(findings: Findings) -> dict[str, Any]:
    statuses = {finding.status for _, finding in findings}
    return {
        "status": next(status for status in (Status.ERROR, Status.WARNING, Status.OK) if status in statuses),
        "checks": [
            {"name": name, "status": finding.status, "found": finding.found, "hint": finding.hint}
            for name, finding in findings
        ],
    }


def as_line(name: str, finding: Finding) -> str:
    hint = f" -> {finding.hint}" if finding.hint else ""
    return f"{finding.status:<8} {name}: {finding.found}{hint}\n"


def as_table(findings: Findings) -> Table:
    table = Table("", "what", "found", "what to do")
    for name, finding in findings:
        status = Text(finding.status, COLOURS[finding.status])
        table.add_row(status, name, *map(Text, (finding.found, finding.hint)))  # no markup in what is found
    return table
