/** What a compute node answers. The first call is the original system's, field for field; the others are ours. */
include "blobs.thrift"
include "members.thrift"

namespace rs wire.generated
namespace py roundtable.compute_node

/** The two matrices of a one-hidden-layer network: V is (h+1) x k, W is (d+1) x h, row 0 is the bias. */
struct Weights {
  1: list<list<double>> V
  2: list<list<double>> W
}

/** `weights` is the change (after - before). Refused: accepted = false, training_error = -1, empty matrices. */
struct TrainResult {
  1: bool accepted
  2: double training_error
  3: Weights weights
}

struct NodeHello {
  /** The version of these calls; 1 now. */
  1: required i32 protocol
  /** The program and its version, for people. */
  2: required string software
  /** A random name that changes when the process restarts (and forgets its blobs). */
  3: required string instance
  /** How many tasks it runs at once. */
  4: required i32 slots
}

enum TaskOutcome {
  /** Done: `output` holds the answer. */
  DONE = 0
  /** The node is too loaded to take it; ask another. */
  REFUSED = 1
  /** The node lacks the blobs in `missing`; put them and ask again. */
  MISSING = 2
  /** The task cannot be done, here or elsewhere: `reason` says why. */
  FAILED = 3
  /** Another coordinator leads this cluster in a later epoch: the asking one is to step down. `reason` names it. */
  DEPOSED = 4
}

struct Task {
  /** Who asks: the coordinator's job, and the task in it. For the node's log only. */
  1: required string label
  /** The kind of job, which says what `parameters`, `inputs` and the output are: "train" or "infer". */
  2: required string kind
  /** A JSON object. train: see `TrainingTask` in src/jobs/training/task.rs; {"epochs": 75, "eta": 0.0001, "early_stop": 0.2}
      is the original's rule. infer: `InferenceTask` in src/jobs/inference/task.rs. */
  3: required string parameters
  /** The blobs it works on. train: the shards, then the model (all safetensors). infer: the model, then the inputs. */
  4: required list<string> inputs
  /** The number of the coordinator's policy; under 2, load-balancing, a loaded node refuses. */
  5: required i32 scheduling_policy
  /** Small inputs may come along, to save a round trip; they are kept like any blob. */
  6: required list<blobs.Blob> attached
  /** Which cluster asks (a random name that its store keeps), and the epoch that the asking coordinator leads in. */
  7: optional string cluster
  8: optional i64 epoch
  /** host:port of the asking coordinator: whom to name to one of an older epoch. */
  9: optional string coordinator
  /** Blobs that the node will probably need next, and may fetch from `coordinator` while it works. */
  10: optional list<string> prefetch
}

struct TaskAnswer {
  1: required TaskOutcome outcome
  /** train: the change of the weights (safetensors); infer: the answers (safetensors). Empty if it is too large to come
      along: see output_digest. */
  2: required binary output
  /** Set if the output must be fetched with get_blob. */
  3: required string output_digest
  /** A JSON object. train: {"training_error": 0.31, "rows": 1500, "epochs": 75, "loss": 1.2}; the loss may be missing.
      infer: `InferenceMetrics` in src/jobs/inference/task.rs. */
  4: required string metrics
  /** Seconds of work, without the simulated delay and without waiting for a free slot. */
  5: required double busy_s
  /** The simulated load delayed this task. */
  6: required bool delayed
  7: required list<string> missing
  8: required string reason
}

/** A blob that a node keeps for others. */
struct HeldBlob {
  1: required string digest
  2: required i64 size
}

service compute_node extends members.member {
  /**
   * The original system's call. `training_file` is looked up under the node's data directory.
   * `load_probability` is ignored, as the original node did: the node's own counts.
   */
  TrainResult train_with_weights(1: string training_file, 2: Weights initial_weights, 3: double load_probability,
                                 4: i32 k, 5: i32 h, 6: double eta, 7: i32 epochs, 8: i32 scheduling_policy)

  /** Who are you? Also asked to see whether the node is alive. */
  NodeHello hello(1: i32 protocol)

  /** Does one task and answers when it is done. Closing the connection abandons it. */
  TaskAnswer run_task(1: Task task)

  /**
   * Fetches a blob from the first of `sources` (host:port) that has it, and keeps it on disk until it is released.
   * Answers when it is whole; at once if the node has it already.
   */
  void hold_blob(1: string digest, 2: i64 size, 3: list<string> sources) throws (1: blobs.Rejected rejected)

  /** Lets a blob go that was kept by `hold_blob`. One that is not held is no error. */
  void release_blob(1: string digest) throws (1: blobs.Rejected rejected)

  /** What the node holds, by ascending digest, from the first after `after` on; at most `limit` and 10,000. */
  list<HeldBlob> held_blobs(1: string after, 2: i32 limit) throws (1: blobs.Rejected rejected)
}
