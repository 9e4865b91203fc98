"""What comparisons in turns share: a peer lives in a process of its own, which waits while others run."""
import json
import os
import resource
import statistics
import subprocess
import sys


def peak_mib(usage):
    return usage.ru_maxrss / 1024


class Peer:
    """The process of `script --worker ARGUMENTS`, whose worker calls answer()."""

    def __init__(self, script, arguments, threads):
        self.process = subprocess.Popen([sys.executable, script, "--threads", str(threads), "--worker", *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        said = self.process.stdout.readline().split()
        self.version = said[1] if said[:1] == ["ready"] else None  # none: it cannot run here

    def measure(self):
        """Seconds, and the process's peak memory so far in MiB."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return tuple(map(float, self.process.stdout.readline().split()))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def peers(script, workers, threads):
    """Those that can run here, by name: `workers` says what each one's worker is given."""
    started = {name: Peer(script, arguments, threads) for name, arguments in workers.items()}
    return {name: peer for name, peer in started.items() if peer.version}


def answer(version, seconds):
    """A peer's side: `seconds()` for each line on standard input."""
    print("ready", version, flush=True)
    for _ in sys.stdin:
        print(seconds(), peak_mib(resource.getrusage(resource.RUSAGE_SELF)), flush=True)


def ours(bench, arguments, threads):
    """Seconds of the only benchmark that `arguments` choose, and the process's peak memory in MiB."""
    process = subprocess.Popen([bench, *arguments, "--benchmark_format=json"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True,
                               env={**os.environ, "TAPESCOPE_THREADS": str(threads)})
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{bench} ended with status {status}")
    return json.loads(out)["benchmarks"][0]["real_time"] / 1e3, peak_mib(usage)


def cell(seconds):
    t = [1e3 * value for value in seconds]
    return f"{statistics.median(t):.1f} ({min(t):.1f}-{max(t):.1f})" if t else "-"
