"""Measures what reports/inference.md shows of inference on a cluster, with real processes and a release build.

    cargo build --release && python3 benches/peers/lite0.py && python3 benches/inference.py [--only NAME,NAME] [--json FILE]

`speed` compares one thread in this process with onnxruntime, run by run in turn; the other scenarios start clusters on
loopback, which end with this program. Networks without weights of their own come with PyPI's `onnx`; they cost what real ones
do. Pictures are 1,000 crops of those that come with scikit-image, as JPEG of 256 x 256.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import inference_venv

inference_venv.enter()

import argparse
import json
import re
import signal
import statistics
import subprocess
import time

import numpy as np
import onnx
import onnxruntime
import skimage
from PIL import Image

from baseline import BINARY, ROOT
from faults.processes import Cluster

TARGET = ROOT / "target"
LITE0 = TARGET / "lite0"
PICTURES = TARGET / "pictures"
LIGHT = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"
PLAIN_CARD = 'mean = [0.0]\nstd = [1.0]\noutput = "probabilities"\n'


def pictures(count=1000):
    """So many different pictures of a fixed size."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    found = sorted(PICTURES.glob("*.jpg"))
    if len(found) >= count:
        return found[:count]
    draw = np.random.default_rng(1)
    data = pathlib.Path(skimage.__file__).parent / "data"
    from_files = [Image.open(path).convert("RGB") for path in sorted(data.glob("*.png")) + sorted(data.glob("*.jpg"))]
    from_files = [image for image in from_files if min(image.size) >= 200]
    for number in range(count):
        image = from_files[number % len(from_files)]
        side = int(draw.integers(150, min(image.size) + 1))
        left, top = (int(draw.integers(0, length - side + 1)) for length in image.size)
        crop = image.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.BICUBIC)
        crop.save(PICTURES / f"p{number:04}.jpg", quality=90)
    return sorted(PICTURES.glob("*.jpg"))


def light(name):
    """A network of the onnx package, with a card."""
    model = LIGHT / f"light_{name}.onnx"
    place = TARGET / "lite0" / f"{name}.onnx"
    if not place.exists():
        place.write_bytes(model.read_bytes())
        place.with_suffix(".toml").write_text(PLAIN_CARD)
    return place


def ours(model, batch, seconds=3):
    """Images a second of one thread, without preparing the pictures."""
    command = ["taskset", "-c", "1", BINARY, "predict-locally", model, pictures(1)[0], "--bench", seconds, "--batch-size", batch]
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(re.search(r"([\d.]+) (?:pictures|images|queries)/s", done.stdout)[1])


def theirs(model, batch, seconds=3):
    """The same of onnxruntime."""
    code = (
        "import onnxruntime as o,numpy as n,time,sys\n"
        "s=o.SessionOptions();s.intra_op_num_threads=s.inter_op_num_threads=1\n"
        "m=o.InferenceSession(sys.argv[1],s,providers=['CPUExecutionProvider']);b=int(sys.argv[2])\n"
        "i=m.get_inputs()[0];x=n.random.default_rng(1).random([b,*i.shape[1:]],dtype=n.float32)\n"
        "best=9e9;end=time.perf_counter()+float(sys.argv[3])\n"
        "while time.perf_counter()<end:\n"
        " t=time.perf_counter();m.run(None,{i.name:x});best=min(best,time.perf_counter()-t)\n"
        "print(b/best)"
    )
    done = subprocess.run(["taskset", "-c", "1", sys.executable, "-c", code, str(model), str(batch), str(seconds)],
                          capture_output=True, text=True, check=True)
    return float(done.stdout)


def speed():
    """One thread against onnxruntime, in turn; the best of three runs each."""
    result = {}
    for name, model, batches in [("EfficientNet-Lite0", LITE0 / "lite0.onnx", [1, 8]), ("ResNet-50", light("resnet50"), [1]),
                                 ("Inception v1", light("inception_v1"), [1]), ("Inception v2", light("inception_v2"), [1])]:
        for batch in batches:
            pairs = [(ours(model, batch, 2), theirs(model, batch, 2)) for _ in range(3)]
            best = [max(values) for values in zip(*pairs)]
            result[f"{name}, batch {batch}"] = {"ours": best[0], "onnxruntime": best[1], "ratio": best[0] / best[1],
                                               "ratios": [a / b for a, b in pairs]}
    return result


class Fleet:
    """A cluster with models and pictures in its store."""

    def __init__(self, nodes, models, count, standby=False, policy="load-balancing"):
        self.cluster = Cluster()
        try:
            for _ in range(nodes):
                self.cluster.node("--load-delay", "0ms")
            self.leader = self.cluster.coordinator()
            self.cluster.ready(self.leader)
            self.at = self.leader.address
            if standby:
                self.standby = self.cluster.coordinator("--standby")
                self.at += "," + self.standby.address
            for model in models:
                for path in [model, model.with_suffix(".toml"), model.with_name("labels.txt")]:
                    if path.exists():
                        self.say("put", path, f"m/{path.name}")
            if count:
                pictures(count)
                self.say("put-all", f"{PICTURES}/p*.jpg", "--prefix", "p/", "--count", count)
        except BaseException:
            self.cluster.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.cluster.close()

    def say(self, *words):
        command = [str(word) for word in [BINARY, *words, "--coordinator", self.at]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def infer(self, model, *more, pattern="p/*"):
        """A job's number."""
        return self.say("infer", model if "/" in model else f"m/{model}", pattern, *more).strip()

    def stats(self):
        at = time.monotonic()
        return at, {job["job"]: job for job in json.loads(self.say("job-stats", "--json"))}

    def watch(self, job):
        return json.loads(self.say("watch", job, "--json"))

    def follow(self, jobs, until, pause=0.04):
        """Counts of queries over time, until `until` says so."""
        told = []
        while True:
            at, stats = self.stats()
            told.append((at, {job: stats[job]["queries"] for job in jobs if job in stats}))
            if until(at, stats):
                return told
            time.sleep(pause)


def rate_on_cluster():
    """1,000 pictures on two nodes of one thread against twice what one process of one thread makes of the same files."""
    alone = []
    for _ in range(3):
        start = time.monotonic()
        command = [BINARY, "predict-locally", LITE0 / "lite0.onnx", *pictures(300), "--batch-size", 8, "--json"]
        subprocess.run([str(word) for word in ["taskset", "-c", "1", *command]], check=True, stdout=subprocess.DEVNULL)
        alone.append(300 / (time.monotonic() - start))
    with Fleet(2, [LITE0 / "lite0.onnx"], 1000) as fleet:
        fleet.watch(fleet.infer("lite0.onnx", "--count", 64))
        runs = [fleet.watch(fleet.infer("lite0.onnx", "--batch-size", 8)) for _ in range(3)]
    rates = [run["rate"] for run in runs]
    return {"in process, pictures from files": max(alone), "on the cluster": max(rates), "all runs": rates,
            "share of twice": max(rates) / (2 * max(alone)), "errors": runs[0]["errors"],
            "forward alone, in process": ours(LITE0 / "lite0.onnx", 8)}


def gaps(told, jobs, since, window):
    """The largest gap between two jobs' rates, as a share of the higher, over all windows of so long since then."""
    worst = []
    for start, before in told:
        end = next((entry for entry in told if entry[0] >= start + window), None)
        if start < since or end is None:
            continue
        a, b = (end[1][job] - before[job] for job in jobs)
        worst.append(abs(a - b) / max(a, b, 1))
    return {"first": worst[0], "largest": max(worst), "mean": statistics.mean(worst), "windows": len(worst)} if worst else None


def two_jobs():
    """A second job of five times the cost a query comes while the first is at work."""
    result = {}
    slow = light("resnet50")
    for batch, window in [(2, 3.0), (10, 6.0)]:
        with Fleet(2, [LITE0 / "lite0.onnx", slow], 800) as fleet:
            # Each node has loaded both before.
            for model in ["lite0.onnx", slow.name]:
                fleet.watch(fleet.infer(model, "--count", 8, "--batch-size", 1))
            first = fleet.infer("lite0.onnx", "--batch-size", batch)
            fleet.follow([first], lambda at, stats: stats[first]["queries"] >= 100)
            asked = time.monotonic()
            second = fleet.infer(slow.name, "--batch-size", batch)
            since, base = fleet.stats()
            told = [(since, {job: base[job]["queries"] for job in [first, second]})] + fleet.follow([first, second], lambda at, stats: any(stats[job]["state"] == "done" for job in [first, second]))
            told = told[:-1]
            answered = next(at for at, counts in told if counts.get(second, 0) > 0)
            _, stats = fleet.stats()
            result[f"batch {batch}"] = {
                "cost ratio": stats[second]["p50_s"] / stats[first]["p50_s"],
                "second's first answer after the request, s": answered - asked,
                "a batch of the first, s": stats[first]["p50_s"], "a batch of the second, s": stats[second]["p50_s"],
                f"gap over {window:.0f} s, from the request on": gaps(told, [first, second], since, window),
                f"gap over {window:.0f} s, from the second's first answer on": gaps(told, [first, second], answered, window),
                "both at work, s": told[-1][0] - since,
            }
    return result


def four_jobs():
    """Weights 1:1:2:4, the same model."""
    with Fleet(2, [LITE0 / "lite0.onnx"], 600) as fleet:
        fleet.watch(fleet.infer("lite0.onnx", "--count", 16))
        weights = [1, 1, 2, 4]
        jobs = [fleet.infer("lite0.onnx", "--batch-size", 2, "--weight", weight) for weight in weights]
        _, start = fleet.stats()
        begin = {job: start[job]["queries"] for job in jobs}
        end = time.monotonic() + 8
        told = fleet.follow(jobs, lambda at, stats: at > end or stats[jobs[3]]["state"] == "done", 0.2)
        gained = [told[-2][1][job] - begin[job] for job in jobs]
        unit = sum(gained) / sum(weights)
        return {"queries": gained, "for a weight, of the mean": [count / weight / unit for count, weight in zip(gained, weights)]}


def recovery(told, killed, window=0.5):
    """The rate before the kill; and seconds from it until the rate over half a second is 80% of that again, for a second. The last
    second of the job, in which nodes run out of work, does not count."""
    def total(counts):
        return sum(counts.values())
    at_kill = [entry for entry in told if entry[0] <= killed][-1]
    before = (total(at_kill[1]) - total(told[0][1])) / (at_kill[0] - told[0][0])
    rates = []
    for t, counts in told:
        later = next((entry for entry in told if entry[0] >= t + window), None)
        if t >= killed and later is not None and later[0] <= told[-1][0] - 1.0:
            rates.append((t, (total(later[1]) - total(counts)) / (later[0] - t)))
    for t, _ in rates:
        if all(rate >= 0.8 * before for u, rate in rates if t <= u <= t + 1.0):
            return before, t - killed, rates
    return before, None, rates


def kills():
    """kill -9 of one of six nodes, and of the leader; no query may be lost or answered twice."""
    result = {}
    for whom in ["node", "leader"]:
        with Fleet(6, [LITE0 / "lite0.onnx"], 1000, standby=True) as fleet:
            expected = fleet.watch(fleet.infer("lite0.onnx", "--batch-size", 2))["answers_sha256"]
            job = fleet.infer("lite0.onnx", "--batch-size", 2)
            killed = []
            def until(at, stats):
                if stats[job]["queries"] > 200 and not killed:
                    victim = fleet.cluster.nodes[0] if whom == "node" else fleet.leader
                    killed.append(victim.send(signal.SIGKILL))
                return stats[job]["state"] == "done"
            told = fleet.follow([job], until)
            answers = json.loads(fleet.say("get-output", job))["answers"]
            before, normal, rates = recovery([entry for entry in told if entry[1].get(job, 0) > 0], killed[0])
            if "-v" in sys.argv:
                print([(round(t - killed[0], 2), round(rate)) for t, rate in rates])
            result[whom] = {"rate before": before, "normal again after, s": normal, "answers": len(answers),
                            "inputs": len({answer["input"] for answer in answers}),
                            "same answers as undisturbed": fleet.watch(job)["answers_sha256"] == expected}
    return result


def rows():
    """A million letter rows, and what a batch costs beside its work."""
    model = TARGET / "letters-bench.safetensors"
    table = TARGET / "million.csv"
    lines = (ROOT / "letters/validate_letters.txt").read_text().splitlines()
    table.write_text("\n".join(lines[number % len(lines)].rsplit(",", 1)[0] for number in range(1_000_000)) + "\n")
    result = {}
    with Fleet(2, [], 0) as fleet:
        host, port = fleet.at.rsplit(":", 1)
        subprocess.run([BINARY, "client", host, port, ROOT / "letters", "5", "5", "--recipe", "letters-fast", "--model-out", model,
                        "--timing", "/dev/null"], check=True, stdout=subprocess.DEVNULL)
        fleet.say("put", model, "m/letters.safetensors")
        fleet.say("put", table, "rows/million.csv")
        times = []
        for _ in range(3):
            start = time.monotonic()
            run = json.loads(fleet.say("infer", "m/letters.safetensors", "rows/*", "--wait", "--json"))
            times.append((time.monotonic() - start, run["seconds"]))
        whole, job = min(times)
        result["a million rows"] = {"from the request to the end, s": whole, "the job, s": job,
                                    "rows/s from the request": 1e6 / whole, "rows/s of the job": 1e6 / min(t[1] for t in times)}
    with Fleet(1, [], 0) as fleet:
        fleet.say("put", model, "m/letters.safetensors")
        fleet.say("put", table, "rows/million.csv")
        runs = []
        for _ in range(3):
            run = json.loads(fleet.say("infer", "m/letters.safetensors", "rows/*", "--wait", "--json", "--batch-size", 1,
                                       "--count", 10_000))
            _, stats = fleet.stats()
            runs.append((run["seconds"] - 1e4 * stats[run["job"]]["mean_s"]) / 1e4 * 1e6)
        result["overhead of a batch, us"] = {"best": min(runs), "all": runs}
    return result


SCENARIOS = {"speed": speed, "cluster": rate_on_cluster, "two-jobs": two_jobs, "four-jobs": four_jobs, "kills": kills, "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SCENARIOS))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("-v", action="store_true", help="also the rates around the kills")
    args = parser.parse_args()
    result = {}
    for name in args.only:
        result[name] = SCENARIOS[name]()
        print(name, json.dumps(result[name], indent=1), flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
