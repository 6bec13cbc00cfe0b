"""A learner that needs nothing but HTTP and Python's own library.

    roundtable coordinator 9095 2 --http 127.0.0.1:8080 &
    roundtable client 127.0.0.1 9095 letters --async --updates 200 &
    python3 examples/learner.py http://127.0.0.1:8080 letters/train_letters1.txt

It gets the newest model, takes mini-batches of the rows, learns from them by plain gradient descent, and gives back what has
changed, until the job is over. Any number of these may learn for the same job, and may come and go. A model here is a chain
of layers with ReLU between them, as the coordinator's files have it; what is told of classes and of the scaling of features
stands in the file, too.
"""

import argparse
import json
import math
import random
import struct
import sys
import time
import urllib.error
import urllib.request
import uuid


def ask(url, body=None, patience=60):
    """The answer's JSON or bytes; None if there is nothing new. Waits while the coordinator says that it should."""
    headers = {"Content-Type": "application/json"} if body else {}
    end = time.monotonic() + patience
    while True:
        try:
            data = json.dumps(body).encode() if body else None
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
                if answer.status == 204:
                    return None
                content = answer.read()
                return json.loads(content) if answer.headers["Content-Type"] == "application/json" else content
        except urllib.error.HTTPError as error:
            said = json.loads(error.read())
            if error.code != 503 or time.monotonic() > end:
                raise Refused(error.code, said) from None
            time.sleep(float(error.headers["Retry-After"] or 1))
        except OSError:
            # The coordinator is being started again, say.
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


class Refused(Exception):
    """The coordinator says what was wrong and what to do."""

    def __init__(self, status, said):
        super().__init__(f"{status}: {said['error']} ({said['advice']})")
        self.status = status


class Model:
    """A safetensors file: eight bytes of length, a header in JSON, numbers."""

    def __init__(self, file):
        (length,) = struct.unpack_from("<Q", file)
        header = json.loads(file[8 : 8 + length])
        about = json.loads(header.pop("__metadata__", {}).get("roundtable", "{}"))
        self.classes = about.get("classes", [])
        self.scaling = None
        arrays = {}
        for name, told in header.items():
            begin, end = (8 + length + offset for offset in told["data_offsets"])
            kind, size = {"F32": ("f", 4), "F64": ("d", 8)}[told["dtype"]]
            arrays[name] = struct.unpack(f"<{(end - begin) // size}{kind}", file[begin:end])
        if about.get("activation", "relu") != "relu" or not self.classes:
            sys.exit("this learner knows ReLU and classes only")
        if "inputs.mean" in arrays:
            self.scaling = arrays["inputs.mean"], arrays["inputs.deviation"]
        self.layers = []
        while f"layers.{len(self.layers)}.weight" in arrays:
            weight, bias = (arrays[f"layers.{len(self.layers)}.{part}"] for part in ("weight", "bias"))
            inputs = len(weight) // len(bias)
            rows = [list(weight[at : at + inputs]) for at in range(0, len(weight), inputs)]
            self.layers.append((rows, list(bias)))

    def scaled(self, features):
        if self.scaling is None:
            return features
        return [(value - mean) / deviation for value, mean, deviation in zip(features, *self.scaling)]

    def run(self, values):
        """What each layer takes, and what the last gives."""
        taken = []
        for place, (weight, bias) in enumerate(self.layers):
            taken.append(values)
            values = [b + sum(w * v for w, v in zip(row, values)) for row, b in zip(weight, bias)]
            if place + 1 < len(self.layers):
                values = [max(0.0, value) for value in values]
        return taken, values

    def learn(self, batch, eta):
        """One step down the mean gradient of the cross-entropy; answers the mean loss before it."""
        loss = 0.0
        sums = [([[0.0] * len(row) for row in weight], [0.0] * len(bias)) for weight, bias in self.layers]
        for features, label in batch:
            taken, logits = self.run(features)
            top = max(logits)
            parts = [math.exp(logit - top) for logit in logits]
            errors = [part / sum(parts) for part in parts]
            loss -= math.log(max(errors[label], 1e-30)) / len(batch)
            errors[label] -= 1.0
            for place in reversed(range(len(self.layers))):
                weight, values = self.layers[place][0], taken[place]
                of_weight, of_bias = sums[place]
                for output, error in enumerate(errors):
                    if error:
                        of_bias[output] += error
                        row = of_weight[output]
                        for at, value in enumerate(values):
                            row[at] += error * value
                if place:
                    back = [0.0] * len(values)
                    for row, error in zip(weight, errors):
                        for at, w in enumerate(row):
                            back[at] += w * error
                    errors = [error if value > 0.0 else 0.0 for error, value in zip(back, values)]
        for (weight, bias), (of_weight, of_bias) in zip(self.layers, sums):
            for row, of_row in zip(weight, of_weight):
                row[:] = [w - eta * s / len(batch) for w, s in zip(row, of_row)]
            bias[:] = [b - eta * s / len(batch) for b, s in zip(bias, of_bias)]
        return loss

    def parameters(self):
        """All numbers as they are given back: for each layer the weights, then the biases."""
        return [part for weight, bias in self.layers for part in ([w for row in weight for w in row], list(bias))]


def rows_of(path, model):
    numbers = {label: number for number, label in enumerate(model.classes)}
    with open(path, encoding="utf-8") as file:
        fields = [line.strip().split(",") for line in file if line.strip()]
    return [(model.scaled([float(field) for field in row[:-1]]), numbers[row[-1]]) for row in fields]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="the coordinator's HTTP address")
    parser.add_argument("rows", help="a CSV file without a head, the label last")
    parser.add_argument("--job", type=int, help="which job; the newest with a model if not given")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=4, help="mini-batches of each change")
    parser.add_argument("--eta", type=float, default=0.1)
    args = parser.parse_args()
    args.url = args.url.rstrip("/")
    newest = ask(args.url + (f"/?job={args.job}" if args.job is not None else "/"))
    # Another job may be the newest soon: this is for the one that it has begun with.
    query = f"?job={newest['job']}"
    rows, done, chance = None, 0, random.Random()
    while newest["takes_updates"]:
        try:
            model = Model(ask(newest["model"]))
        except Refused as refused:
            if refused.status != 404:
                raise
            # Others were so fast that it is not kept any more.
            newest = ask(f"{args.url}/{query}")
            continue
        rows = rows or rows_of(args.rows, model)
        before = model.parameters()
        batches = [chance.sample(rows, min(args.batch_size, len(rows))) for _ in range(args.batches)]
        loss = sum(model.learn(batch, args.eta) for batch in batches) / len(batches)
        change = [[a - b for a, b in zip(*pair)] for pair in zip(model.parameters(), before)]
        told = {"parameters": change, "update": newest["update"], "id": str(uuid.uuid4())}
        told["rows"] = sum(map(len, batches))
        try:
            update = ask(f"{args.url}/{query}", told)["update"]
            done += 1
            print(f"version {update}: loss {loss:.4f}", flush=True)
        except Refused as refused:
            if refused.status not in (409, 410):
                raise
            print(f"not applied: {refused}", flush=True)
        newest = ask(f"{args.url}/{query}")
    print(f"the job is over ({newest['state']}); {done} changes were from here")


if __name__ == "__main__":
    main()
