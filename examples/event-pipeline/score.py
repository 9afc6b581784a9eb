"""Scores runs by their events: one file a run, each line an event of `ringfence run --json`. Python's
standard library, because an evaluation is usually in Python and needs nothing but the lines."""
import json
import pathlib
import sys


def score(lines):
    end, calls, bad, denials = "unfinished", 0, 0, 0
    for event in map(json.loads, lines):
        kind, data = event["kind"], event["data"]
        if kind == "call.proposed":
            calls += 1
        elif kind == "call.denied":
            bad, denials = bad + 1, denials + 1
        elif kind == "call.invalid":
            bad += 1
        elif kind == "call.finished":
            bad += data["result"]["outcome"] != "succeeded"
        elif kind in ("run.completed", "run.failed", "run.cancelled", "run.limit-reached"):
            end = kind.removeprefix("run.")
    useful = (calls - bad) / calls if calls else 0
    return end, calls, bad, denials, round(100 * useful) if end == "completed" else 0


print(f"{'run':<10} {'end':<14} {'calls':>5} {'bad':>4} {'denied':>6} {'score':>5}")
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as lines:
        end, calls, bad, denials, points = score(lines)
    print(f"{pathlib.Path(path).stem:<10} {end:<14} {calls:>5} {bad:>4} {denials:>6} {points:>5}")
