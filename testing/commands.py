"""How tests run a command in their own process."""

from io import StringIO

from django.core.management import CommandError, call_command


def run(name, *arguments):
    """The exit status, standard output and standard error of a command."""
    out, err = StringIO(), StringIO()
    try:
        call_command(name, *map(str, arguments), stdout=out, stderr=err)
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}\n"
    return 0, out.getvalue(), err.getvalue()
