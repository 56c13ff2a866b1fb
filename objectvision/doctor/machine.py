"""What this machine, or its control group, grants to processes."""

import resource
from pathlib import Path

from detections.inference.runtimes import shared_core
from objectvision.doctor.findings import Finding, error, ok, warning

LEAST_FILES = 1024
MB, GB = 10**6, 10**9
LEAST_MEMORY, LEAST_AVAILABLE = 1 * GB, 500 * MB
CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")
MEMINFO = Path("/proc/meminfo")


def check_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{shown(soft)}, at most {shown(hard)}"
    is_low = soft != resource.RLIM_INFINITY and soft < LEAST_FILES
    return warning(found) if is_low else ok(found)


def shown(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def check_devices() -> Finding:
    core = shared_core()
    names = {device: core.get_property(device, "FULL_DEVICE_NAME") for device in core.available_devices}
    found = ", ".join(f"{device}: {name}" for device, name in names.items())
    return ok(found) if "CPU" in names else error(f"no CPU among its devices: {found or 'none'}")


def check_memory() -> Finding:
    if not MEMINFO.exists():
        return ok("not known on this system")
    memory = read_meminfo()
    limit = limit_of_cgroup()
    available, total = memory["MemAvailable"], memory["MemTotal"]
    found = f"{available / GB:.1f} of {total / GB:.1f} GB are available"
    if limit and limit < total:
        found += f"; the control group has {limit / GB:.1f} GB"
    is_low = min(total, limit or total) < LEAST_MEMORY or available < LEAST_AVAILABLE
    return warning(found) if is_low else ok(found)


def read_meminfo() -> dict[str, int]:
    """In bytes, by the kernel's names."""
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


def limit_of_cgroup() -> int | None:
    """In bytes: the lowest of this process's group and those around it, of version 2 or 1."""
    files = [CGROUPS / "memory" / "memory.limit_in_bytes", *(group / "memory.max" for group in own_groups())]
    limits = [file.read_text().strip() for file in files if file.exists()]
    return min((int(limit) for limit in limits if limit.isdecimal()), default=None)


def own_groups() -> list[Path]:
    _, _, path = OWN_GROUP.read_text().strip().rpartition("0::/")
    group = CGROUPS / path
    return [group, *(folder for folder in group.parents if folder.is_relative_to(CGROUPS))]
