"""Trains a small model on a running roundtable cluster, from Python.

    pip install thriftpy2 numpy safetensors
    roundtable compute-node 9091 0 &
    roundtable coordinator 9095 1 &
    python examples/clients/python_client.py localhost 9095

The conversation has four steps, and any language with a Thrift library can hold it:
put the data as blobs, submit a job that names them, watch it, get the model.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import thriftpy2
from safetensors.numpy import load, save
from thriftpy2.rpc import make_client

# thriftpy2 reads the contract as it is; `thrift --gen` makes the same types for other libraries and languages.
IDL = pathlib.Path(__file__).resolve().parents[2] / "idl"
api = thriftpy2.load(str(IDL / "coordinator.thrift"), module_name="coordinator_thrift")

CHUNK = 1 << 20  # a message carries at most 1 MiB of a blob


def make_rows(rng, count):
    """Three classes of points with four features each; something to learn."""
    centres = np.array([[3, 3, 12, 8], [12, 4, 3, 8], [4, 12, 4, 8]])
    labels = rng.integers(0, 3, count).astype(np.uint8)
    features = centres[labels] + rng.normal(0.0, 2.0, (count, 4))
    return features.astype(np.float32), labels


def put(coordinator, name, features, labels):
    """Sends rows as a blob, unless the coordinator has it already, and answers how a job refers to it."""
    # A shard is safetensors with exactly these two: features [n,d] as U8 or F32, labels [n] as U8.
    blob = save({"features": features, "labels": labels})
    digest = hashlib.sha256(blob).hexdigest()
    if coordinator.missing_blobs([digest]):
        for offset in range(0, len(blob), CHUNK):
            coordinator.put_blob(digest, offset, len(blob), blob[offset : offset + CHUNK])
    return api.Shard(name=name, digest=digest, rows=len(labels))


def get(coordinator, digest):
    blob = b""
    while True:
        part = coordinator.get_blob(digest, len(blob), CHUNK)
        blob += part
        if len(part) < CHUNK:
            return blob


def main(host, port):
    # watch() may take as long as it is told to wait, so the time-out (in ms) has to be longer than that.
    coordinator = make_client(api.coordinator, host, int(port), timeout=20_000)
    rng = np.random.default_rng(1)

    # 1. The data: a task trains on one shard, so there should be at least as many shards as nodes.
    shards = [put(coordinator, f"train_{n}.txt", *make_rows(rng, 300)) for n in range(4)]
    validation_features, validation_labels = make_rows(rng, 500)
    validation = put(coordinator, "validate.txt", validation_features, validation_labels)

    # 2. The job. In each round every shard trains 20 epochs from the same weights; then the changes are averaged.
    job = coordinator.submit(
        api.JobRequest(
            kind="train",
            parameters=json.dumps({"rounds": 3, "epochs": 20, "hidden": [8], "eta": 0.001, "seed": 1}),
            dataset="points",
            shards=shards,
            validation=validation,
            classes=["0", "1", "2"],
            give_up_after_s=60.0,
        )
    )

    # 3. Its progress: each call answers as soon as there is something new, and tells the rounds not seen yet.
    version, seen = -1, 0
    while True:
        status = coordinator.watch(job, version, seen, 10_000)
        version, seen = status.version, seen + len(status.closed)
        for r in status.closed:
            print(f"round {r.round}: validation error {r.validation_error:.4f}, {r.wall_s:.3f} s")
        if status.state != api.JobState.RUNNING:
            break
    if status.state != api.JobState.DONE:
        sys.exit(f"the job was not done: {status.notice}")

    # 4. The model: layers.N.weight is [outputs, inputs], as in PyTorch; ReLU between the layers.
    weights = load(get(coordinator, status.model_digest))
    coordinator.close()
    hidden = np.maximum(validation_features @ weights["layers.0.weight"].T + weights["layers.0.bias"], 0.0)
    outputs = hidden @ weights["layers.1.weight"].T + weights["layers.1.bias"]
    error = np.mean(outputs.argmax(axis=1) != validation_labels)
    print(f"validation error of the model that came back: {error:.4f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python python_client.py HOST PORT")
    main(*sys.argv[1:])
