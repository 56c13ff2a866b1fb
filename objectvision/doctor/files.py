"""The storage, and the space that is left for it."""

import errno
import os
import shutil
from pathlib import Path

from django.conf import settings
from django.core.files.storage import storages

from objectvision import health
from objectvision.doctor.findings import Finding, error, first_line, ok, warning

GB = 10**9
SPACE_WARNING, SPACE_ERROR = 5 * GB, 1 * GB
SHARE_WARNING = 0.1


def check_storage() -> Finding:
    storage = storages["default"]
    place = getattr(storage, "location", "") or type(storage).__name__
    try:
        health.storage()
    except health.PartAwayError as reason:
        cause = reason.__cause__
        found = f"{place}: {first_line(cause or reason)}"
        return error(found, storage_hint(cause, place))
    return ok(f"{place} is writable")


def storage_hint(cause: BaseException | None, place: str) -> str:
    match cause:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"Free space on the file system of {place}, or set DATA_DIR to a folder on a larger one."
        case OSError(errno=errno.EROFS):
            return f"Mount the file system of {place} for writing, or set DATA_DIR to another folder."
        case OSError(errno=errno.EACCES | errno.EPERM):
            return f"Let user id {os.geteuid()} write to {place}, or set DATA_DIR to another folder."
    return f"See that {place} is a folder that can be written, or set DATA_DIR to another one."


def check_space() -> Finding:
    places = {settings.DATA_DIR, settings.MEDIA_ROOT, settings.FILE_UPLOAD_TEMP_DIR}
    systems = {folder.stat().st_dev: folder for folder in sorted(places, reverse=True)}
    return max((space_of(folder) for folder in systems.values()), key=severity)


def severity(finding: Finding) -> int:
    return ["ok", "warning", "error"].index(finding.status)


def space_of(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / GB:.1f} of {usage.total / GB:.1f} GB are free in {folder}"
    if usage.free < SPACE_ERROR:
        return error(found)
    is_low = usage.free < SPACE_WARNING or usage.free < SHARE_WARNING * usage.total
    return warning(found) if is_low else ok(found)
