#!/usr/bin/env python3
"""Holds the rooms apart: who may include whom, and who may ask what time it is.

A file may include of ours what the longest prefix of its own path in ALLOWED grants. A new arrow is
a decision: change the table in the same commit, and say why.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

ALLOWED = {
    "supervisor/": ["supervisor/"],
    "agent/": ["agent/", "supervisor/"],
    "agent/config/": ["agent/config/", "agent/level.hpp", "supervisor/"],
    "agent/lb/": ["agent/lb/", "agent/config/duration.hpp", "agent/config/typing_error.hpp",
                  "agent/config/url_text.hpp",
                  "agent/config/list.hpp", "agent/config/secrets.hpp", "agent/utc.hpp", "agent/inherited_listeners.hpp"]
    + [f"supervisor/{name}.hpp" for name in ("load_balancer", "clock", "await", "process", "task", "log", "vocabulary")],
    # A program of its own: it speaks to the agent over docs/helper-protocol.md, and shares with it what
    # has no state.
    "agent/helpers/aws/": ["agent/helpers/aws/", "agent/config/typing_error.hpp",
                           "agent/config/url_text.hpp", "agent/utc.hpp",
                           "supervisor/await.hpp", "supervisor/clock.hpp"],
    "agent/journal/": ["agent/journal/", "agent/config/", "agent/disk.hpp", "agent/log.hpp", "agent/utc.hpp", "supervisor/"],
    # How the journal is, not what is in it.
    "agent/api/": ["agent/api/", "agent/config/", "agent/journal/health.hpp", "agent/log.hpp", "agent/utc.hpp", "supervisor/"],
    "agent/api/listener": ["agent/api/listener.hpp", "agent/inherited_listeners.hpp", "supervisor/clock.hpp"],
    "agent/api/types": ["agent/api/types.hpp", "agent/api/fields.hpp"],
    # Knows nothing of tasks, so that the API is tested as a function from request to response.
    "agent/api/http_server": [f"agent/api/{name}.hpp" for name in ("http_server", "listener", "message", "wire")]
    + [f"supervisor/{name}.hpp" for name in ("await", "clock", "log")],
    "cli/": ["cli/", "agent/api/types.hpp"],
    "tests/": ["tests/", "agent/", "cli/", "supervisor/"],
}

# Inside supervisor/ a file includes its own storey or one below; what isn't named lives on the
# storey of the parts.
STOREYS = [
    {"clock", "log", "vocabulary", "tcp_socket"},
    {"await", "task"},
    {"phase"},
    {"process", "load_balancer", "journal", "connections", "stop_request"},
    {"(parts)"},
    {"stop", "stop_progress"},
    {"life", "adoption"},
    {"supervisor"},
]

# Clients of load balancers know the interface, never each other.
CLIENTS = {"haproxy", "readiness", "helper", "elbv2", "elb"}

# Slow to compile, and nobody else's business: one .cpp each.
HEAVY = re.compile(r"boost/(beast|json|process|url)\b|boost/asio\.hpp|sqlite3\.h|CLI/|pugixml|curl/|openssl/")
# What agent/api/types.hpp brings with it anyway.
JSON_VALUES = re.compile(r"boost/json/(value|object)\.hpp")
HEAVY_HEADERS = {"agent/api/": JSON_VALUES, "cli/": JSON_VALUES}
NEVER = {
    "": re.compile(r"boost/asio\.hpp"),
    "supervisor/": re.compile(r"boost/(beast|json|url)\b|sqlite3\.h|CLI/"),
    "cli/": re.compile(r"sqlite3\.h"),
}

# Words that may not occur, by folder; the exceptions are the places where they belong. log.cpp and
# store.cpp stamp lines and file names for people to read, without a loop around them. disk.cpp has no
# loop either: a condition variable waits on its own clock.
TIME = r"(steady|system|high_resolution)_clock::now|\bclock_gettime\b|\bgettimeofday\b|\btime\(nullptr\)"
WORDS = [
    (re.compile(TIME), ("supervisor/", "agent/"), {"supervisor/clock.cpp", "agent/disk.cpp", "agent/log.cpp", "agent/journal/store.cpp"},
     "asks what time it is: only supervisor/clock.cpp does, others are given a Clock"),
    (re.compile(r"\bgetenv\b|\bchar\s*\*\*\s*environ\b|::environ\b"), ("supervisor/",), set(),
     "reads the environment: only agent/ does"),
    (re.compile(r"asio::detached\b"), ("supervisor/", "agent/", "cli/"), set(),
     "detaches a coroutine: every one is awaited or inside a Gate"),
    # listener.cpp waits for a lock, for 100 ms at most, before there is a loop to wait in.
    (re.compile(r"\bsleep_for\b|\busleep\(|\bnanosleep\b"), ("supervisor/", "agent/", "cli/"),
     {"agent/api/listener.cpp"}, "sleeps: wait for the thing itself"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)


def storey(name):
    """What implements an interface lives among the parts, like every file that isn't named."""
    file = pathlib.PurePath(name)
    parts = STOREYS.index({"(parts)"})
    level = next((i for i, names in enumerate(STOREYS) if file.stem in names), parts)
    return parts if file.suffix == ".cpp" and level == parts - 1 else level


def troubles(path, text):
    includes = INCLUDE.findall(text)
    ours = [name for quote, name in includes if quote == '"']
    allowed = ALLOWED[max((p for p in ALLOWED if path.startswith(p)), key=len)]
    header = path.endswith(".hpp")
    for name in ours:
        if path.startswith("tests/") and "/" not in name:
            continue
        if not (ROOT / name).exists():
            yield f'includes "{name}", which is no path from the root'
        if not any(name.startswith(prefix) for prefix in allowed):
            yield f"may not include {name}"
        if path.startswith("supervisor/") and storey(name) > storey(path):
            yield f"may not include {name}: that is a storey above"
        a, b = pathlib.PurePath(path).stem, pathlib.PurePath(name).stem
        if path.startswith("agent/lb/") and a != b and {a, b} <= CLIENTS:
            yield f"may not include {name}: clients don't know each other"
    for _, name in includes:
        if header and not path.startswith("tests/") and HEAVY.search(name):
            allowed_here = [p for prefix, p in HEAVY_HEADERS.items() if path.startswith(prefix)]
            if not any(p.search(name) for p in allowed_here):
                yield f"is a header and may not include <{name}>"
        for prefix, pattern in NEVER.items():
            if path.startswith(prefix) and pattern.search(name):
                yield f"may not include <{name}>"
    own = path.removesuffix(".cpp") + ".hpp"
    if path.endswith(".cpp") and own in ours and includes[0][1] != own:
        yield f"must include its own header first: so {own} is known to compile alone"
    if header and "#pragma once" not in text:
        yield "lacks #pragma once"
    code = COMMENT.sub("", text)
    for pattern, folders, exceptions, trouble in WORDS:
        if path.startswith(folders) and path not in exceptions:
            found = pattern.search(code)
            if found:
                yield f"'{found.group()}' {trouble}"


def main():
    count = 0
    for folder in ("supervisor", "agent", "cli", "tests"):
        for file in sorted((ROOT / folder).rglob("*.[ch]pp")):
            path = file.relative_to(ROOT).as_posix()
            for trouble in troubles(path, file.read_text()):
                print(f"{path} {trouble}")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
