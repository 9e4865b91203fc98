#!/usr/bin/env python3
"""tools/gpu-check with each part in turn hanging, crashing, printing nothing or garbage: the report has all
the others, says what happened, and the exit status is not 0. The other parts' commands are stand-ins, so
that it takes seconds; `tools/gpu-check --rehearse` runs the true ones. Prints what is wrong, if anything."""
import contextlib
import dataclasses
import importlib.machinery
import importlib.util
import io
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

PATH = pathlib.Path(__file__).resolve().parents[2] / "tools/gpu-check"
loader = importlib.machinery.SourceFileLoader("gpu_check", str(PATH))
gpu_check = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
sys.dont_write_bytecode = True
sys.modules["gpu_check"] = gpu_check
loader.exec_module(gpu_check)
GRACE, gpu_check.GRACE = gpu_check.GRACE, 1
LIMITS = dict(gpu_check.LIMITS)
gpu_check.LIMITS = dict.fromkeys(LIMITS, 1e6)

SAID = {"hang": "did not end within 1 s", "crash": "SIGSEGV", "nothing": "printed nothing", "garbage": "is no row"}
ROW = '{"name": "a|b", "result": "measured", "ms": 1.5}'
PARTS = [part.name for part in gpu_check.PARTS]
complaints = []


def expect(truth, what):
    if not truth:
        complaints.append(what)


def stand_in(**commands):
    """The table with `echo` in place of every part's commands but those that are given, and time for it on any machine."""
    return [dataclasses.replace(part, seconds=600, each=600,
                                commands=lambda c, name=part.name: commands.get(name, {name: ["echo", ROW]}))
            for part in TABLE]


TABLE = gpu_check.PARTS


class Gone(io.StringIO):
    """Standard output whose reader has gone."""
    def write(self, text):
        raise BrokenPipeError


def rehearse(folder, *words):
    """Exit status; rows of both phases by part; what the reports say."""
    build = folder / "programs"
    build.mkdir(exist_ok=True)
    for program in ("tapescope", "device_bench"):
        (build / program).touch()
    out = pathlib.Path(tempfile.mkdtemp(dir=folder))
    try:
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            status = gpu_check.main(["--build", str(build), "--out", str(out), *words])
    except SystemExit as ended:
        return ended.code, {}, errors.getvalue()
    rows, text = {}, ""
    for phase in ("first", "rest"):
        if (out / f"{phase}.jsonl").exists():
            for line in (out / f"{phase}.jsonl").read_text().splitlines():
                row = json.loads(line)
                rows.setdefault(row["part"], []).append(row)
            text += (out / f"{phase}.md").read_text()
    return status, rows, text


def judge_fault(fault):
    part, kind = fault
    complaints.clear()  # the parent's
    folder = pathlib.Path(tempfile.mkdtemp())
    status, rows, text = rehearse(folder, "--rehearse", "--fault", f"{part}={kind}")
    at = f"{part}={kind}"
    expect(status == 1, f"{at}: exit status {status}, not 1")
    expect(list(rows) == PARTS, f"{at}: the report has {list(rows)}")
    failed = [row for row in rows.get(part, []) if row["result"] == "failed"]
    expect(failed and SAID[kind] in failed[0]["detail"], f"{at}: the report says {failed}")
    expect(f"| {part} | {part} | FAILED | " in text and SAID[kind] in text, f"{at}: the table does not say it")
    for other in PARTS:
        if other != part:
            expect([row["result"] for row in rows.get(other, [])] == ["measured"], f"{at}: {other} has {rows.get(other)}")
    shutil.rmtree(folder)
    return complaints


def ends(process):
    """Whether it does, be the machine as busy as it may."""
    for _ in range(300):
        try:
            if pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def judge_commands(folder):
    """Commands of one part: what comes before a fault stays, the rest still runs."""
    gpu_check.PARTS = stand_in(
        smoke={"dies": ["sh", "-c", f"echo '{ROW}'; echo why >&2; exit 3"], "lives": ["echo", ROW], "absent": ["/nonexistent/x"]},
        steps={"said so": ["sh", "-c", 'echo \'{"name": "x", "result": "failed", "detail": "wrong"}\'; exit 1']},
        machine={"cudnn": ["echo", '{"name": "cudnn", "result": "missing", "detail": "not found"}']},
        rungs={"orphan": ["sh", "-c", f"trap '' TERM; sleep 1000 & echo $! >{folder}/orphan; echo '{ROW}'"]},
        mnist={"deaf": ["sh", "-c", f"trap 'echo asked >{folder}/asked' TERM; echo $$ >{folder}/deaf; while :; do sleep 0.1; done"]})
    for part in gpu_check.PARTS:
        if part.name in ("rungs", "mnist"):
            part.seconds = part.each = 2
    status, rows, text = rehearse(folder, "--first", "--rest")
    expect(status == 1, f"commands: exit status {status}")
    expect(sorted((r["name"], r["result"]) for r in rows["smoke"]) ==
           [("absent", "missing"), ("a|b", "measured"), ("a|b", "measured"), ("dies", "failed")], f"smoke: {rows['smoke']}")
    expect("status 3; why" in text, "the last line of a failing command's stderr is not told")
    expect(len(rows["steps"]) == 1, f"a fault that a command tells itself is told once: {rows['steps']}")
    expect([r["result"] for r in rows["rungs"]] == ["measured", "failed"], f"a child that stays: {rows['rungs']}")
    expect((folder / "asked").exists(), "what hangs is not asked to end before it is killed")
    for name in ("orphan", "deaf"):
        expect(ends((folder / name).read_text().strip()), f"{name} still runs")
    # What is measured by is missing: told in a rehearsal, a failure where it counts.
    gpu_check.PARTS = stand_in(machine={"cudnn": ["echo", '{"name": "cudnn", "result": "missing"}']})
    expect(rehearse(folder, "--rehearse")[0] == 0, "a rehearsal fails for want of cuDNN")
    expect(rehearse(folder, "--first")[0] == 1, "a missing yardstick is no failure")
    expect(rehearse(folder, "--rest")[0] == 0, "--rest runs what belongs to --first")
    # What is no row is told, and what came before it stays.
    lines = ["null", "[1]", '{"name": 3, "result": "passed"}', '{"name": "x", "result": "perfect"}', '{"name": "x"}', "x", "", r"\0377"]
    gpu_check.PARTS = stand_in(smoke={str(i): ["sh", "-c", f"echo '{ROW}'; printf '%b\n' '{line}'"] for i, line in enumerate(lines)})
    told = rehearse(folder, "--rehearse")[1]["smoke"]
    expect(sum("is no row" in row.get("detail", "") for row in told) == len(lines) and len(told) == 2 * len(lines), f"no rows: {told}")
    # A fault of its own stops nothing, nor does a reader who went away.
    gpu_check.PARTS = stand_in(smoke=None, steps={"words": [3], "well": ["sh", "-c", f"sleep 0.3; echo '{ROW}'"]})
    status, rows, _ = rehearse(folder, "--rehearse")
    expect(status == 1 and list(rows) == PARTS, f"its own fault: status {status}, rows of {list(rows)}")
    expect(all("gpu-check: " in rows[part][0]["detail"] for part in ("smoke", "steps")), f"its own fault: {rows['smoke']}, {rows['steps']}")
    expect("measured" in [row["result"] for row in rows["steps"]], f"its own fault takes another command along: {rows['steps']}")
    gpu_check.PARTS = stand_in()
    with contextlib.redirect_stdout(Gone()):
        expect(list(rehearse(folder, "--rehearse")[1]) == PARTS, "where nobody reads along parts are lost")
    # What does not get its turn is told.
    late = stand_in(smoke={str(i): ["sh", "-c", f"sleep 0.7; echo '{ROW}'"] for i in range(4)})
    smoke = next(part for part in late if part.name == "smoke")
    smoke.seconds, smoke.jobs = 1.5, 1
    gpu_check.PARTS = late
    told = [row.get("detail", "") for row in rehearse(folder, "--first")[1]["smoke"]]
    expect("not begun" in told[-1], f"out of time: {told}")
    gpu_check.PARTS = stand_in()


def judge_kill(folder):
    """The program itself is killed while a command runs: what was found until then is on the disk."""
    gpu_check.PARTS = stand_in(kernels={"waits": ["sh", "-c", f"echo '{ROW}'; sleep 20"]})
    out = folder / "killed"
    child = os.fork()
    if child == 0:
        rehearse(folder, "--first", "--out", str(out))
        os._exit(0)
    rows, table = out / "first.jsonl", out / "first.md"
    until = time.monotonic() + 60
    while not (table.exists() and "| kernels |" in table.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    parts = [json.loads(line)["part"] for line in rows.read_text().splitlines()]
    expect(parts == ["machine", "smoke", "kernels"], f"killed: the rows are of {parts}")
    expect(table.read_text().splitlines()[-1].startswith("| kernels | a/b | measured | 1.5 ms"), "killed: the table lacks a row")
    gpu_check.PARTS = stand_in()


def judge_table(folder):
    page = (PATH.parent.parent / "bench/device/README.md").read_text()
    for part in TABLE:
        expect(f"| `{part.name}` | {part.phase} | {part.seconds} | {part.decides} |" in page, f"bench/device/README.md: {part.name}")
    expect(LIMITS == {"first": 330, "rest": 400}, f"limits: {LIMITS}")
    for phase, limit in LIMITS.items():
        longest = sum(part.seconds + 2 * GRACE for part in TABLE if part.phase == phase)
        expect(longest <= limit, f"--{phase} may take {longest} s")
    gpu_check.PARTS = stand_in() + [dataclasses.replace(TABLE[0], seconds=2e6)]
    status = rehearse(folder, "--rehearse")[0]
    expect("more than 1000000" in str(status) or "more than 1e+06" in str(status), f"a table that takes too long: {status}")
    gpu_check.PARTS = stand_in()
    for words in ([], ["--rehearse", "--fault", "smoke=sleep"], ["--rehearse", "--fault", "none=hang"], ["--first", "--fault", "smoke=hang"]):
        expect(rehearse(folder, *words)[0] == 2, f"{words} is no usage error")
    status, rows, _ = rehearse(folder, "--rehearse")
    expect(status == 0 and list(rows) == PARTS, f"nothing is wrong, and yet: {status}, {rows}")


def main():
    folder = pathlib.Path(tempfile.mkdtemp())
    with contextlib.redirect_stdout(io.StringIO()):
        judge_table(folder)
        judge_commands(folder)
        judge_kill(folder)
        with multiprocessing.get_context("fork").Pool(8) as pool:  # which wait more than they work
            for found in pool.map(judge_fault, [(part, kind) for part in PARTS for kind in SAID], chunksize=1):
                complaints.extend(found)
    shutil.rmtree(folder)
    print("\n".join(complaints) or f"gpu-check: {len(PARTS)} parts, each broken in {len(SAID)} ways: the others are told")
    return len(complaints)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
