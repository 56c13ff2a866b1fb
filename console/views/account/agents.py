"""User agents in words."""

import re

# The first that matches names it: browsers name those that they descend from as well.
PROGRAMS = (
    (r"Edg(?:e|A|iOS)?/(\d+)", "Edge"),
    (r"OPR/(\d+)", "Opera"),
    (r"SamsungBrowser/(\d+)", "Samsung Internet"),
    (r"(?:Firefox|FxiOS)/(\d+)", "Firefox"),
    (r"HeadlessChrome/(\d+)", "Headless Chrome"),
    (r"(?:Chrome|CriOS|Chromium)/(\d+)", "Chrome"),
    (r"Version/(\d+)[\d.]* (?:Mobile/\w+ )?Safari/", "Safari"),
    (r"curl/([\d.]+)", "curl"),
    (r"python-requests/([\d.]+)", "Python requests"),
    (r"python-httpx/([\d.]+)", "Python httpx"),
    (r"PostmanRuntime/([\d.]+)", "Postman"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh|Mac OS X", "macOS"),
    ("Linux|X11", "Linux"),
)
UNKNOWN = "An unknown program"


def in_words(user_agent: str) -> str:
    """As "Firefox 145 on Linux"; the text itself where no known program is named."""
    program = program_of(user_agent)
    if program is None:
        return user_agent or UNKNOWN
    systems = (name for pattern, name in SYSTEMS if re.search(pattern, user_agent))
    system = next(systems, None)
    return f"{program} on {system}" if system else program


def program_of(user_agent: str) -> str | None:
    for pattern, name in PROGRAMS:
        if match := re.search(pattern, user_agent):
            return f"{name} {match[1]}"
    return None
