/** What the coordinator answers. The first call is the original system's; the others are ours. */
include "blobs.thrift"

namespace rs wire.generated
namespace py roundtable.coordinator

struct Shard {
  /** The file it was read from, for messages, and for nodes of the original system, which read it themselves. */
  1: required string name
  2: required string digest
  3: required i64 rows
}

struct JobRequest {
  /** The kind of job: "train". */
  1: required string kind
  /** A JSON object. train: see `TrainingRequest` in src/jobs/training.rs. */
  2: required string parameters
  /** The data set's name: a directory. Read under the coordinator's data directory if `shards` is empty. */
  3: required string dataset
  4: required list<Shard> shards
  5: optional Shard validation
  /** Labels in class order. */
  6: required list<string> classes
  /** Fail the job after this many seconds without progress; 0 or less: never. */
  7: required double give_up_after_s
}

enum JobState {
  RUNNING = 0
  DONE = 1
  FAILED = 2
  CANCELLED = 3
}

struct RoundReport {
  /** From 1. */
  1: required i32 round
  /** Wrong answers on the validation rows, as a share of them. */
  2: required double validation_error
  /** The same on the training rows, before averaging: the shards' errors weighted by rows. */
  3: required double training_error
  /** From the end of the round before (or the start) to the end of this one. */
  4: required double wall_s
}

struct NodeReport {
  1: required string address
  /** "ready", "busy", "backing off", "unreachable". */
  2: required string state
  /** "roundtable 0.1.0", or "original" for a node that only knows train_with_weights. */
  3: required string software
  /** The counts are this job's. */
  4: required i64 tasks
  5: required i64 refusals
  6: required i64 delays
  7: required i64 failures
  8: required double busy_s
  9: required i64 bytes_sent
  10: required i64 bytes_received
}

struct JobStatus {
  1: required JobState state
  /** Grows with every change; give it to the next `watch`. */
  2: required i64 version
  /** The round at work, from 1, and how many there will be. */
  3: required i32 round
  4: required i32 rounds
  5: required i32 tasks_done
  6: required i32 tasks_total
  7: required i32 nodes_busy
  8: required i32 nodes_ready
  9: required i32 nodes_known
  /** The rounds closed after `rounds_seen`. */
  10: required list<RoundReport> closed
  /** Why nothing moves, if so; why it failed. Else empty. */
  11: required string notice
  12: required list<NodeReport> nodes
  /** When done: the SHA-256 of the final weights, whatever else the model file says. */
  13: required string weights_sha256
  /** When done: the blob of the final model (safetensors, with the class labels in its metadata). */
  14: required string model_digest
  /** Seconds since the job was accepted; stops when it ends. */
  15: required double wall_s
}

service coordinator extends blobs.blob_store {
  /**
   * The original system's call: trains on `dir` under the coordinator's data directory and answers the final
   * validation error. Labels are the integers from 0 to k-1. A job that fails is an application exception with
   * the reason.
   */
  double train(1: string dir, 2: i32 rounds, 3: i32 epochs, 4: i32 h, 5: i32 k, 6: double eta)

  /** Starts a job and answers its id. All shards must have been put before. */
  string submit(1: JobRequest request) throws (1: blobs.Rejected rejected)

  /**
   * The state of a job, as soon as its version differs from `version`, or after `wait_ms` (at most 30 s).
   * A job whose client stops asking goes on; see `cancel`.
   */
  JobStatus watch(1: string job, 2: i64 version, 3: i32 rounds_seen, 4: i32 wait_ms) throws (1: blobs.Rejected rejected)

  /** Ends a job; its tasks are abandoned. Ending a job that has ended is harmless. */
  void cancel(1: string job) throws (1: blobs.Rejected rejected)
}
