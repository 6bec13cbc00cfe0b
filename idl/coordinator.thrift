/** What the coordinator answers. The first call is the original system's; the others are ours. */
include "blobs.thrift"
include "members.thrift"

namespace rs wire.generated
namespace py roundtable.coordinator

/** The asked coordinator stands by; `leader` (host:port) leads, or nobody is known to if it is empty. */
exception NotLeader {
  1: required string leader
}

struct Leadership {
  /** The version of these calls; 1 now. */
  1: required i32 protocol
  /** The asked coordinator leads. */
  2: required bool leads
  /** Who leads, host:port; empty if that is not known. */
  3: required string leader
  /** In which epoch. */
  4: required i64 epoch
  /** The store's name: coordinators that tell the same name share one store. */
  5: required string cluster
  /** The asked process; changes when it restarts. */
  6: required string instance
}

struct Shard {
  /** The file it was read from, for messages, and for nodes of the original system, which read it themselves. */
  1: required string name
  2: required string digest
  3: required i64 rows
}

struct JobRequest {
  /** The kind of job: "train", "train-async", "tune" or "infer". */
  1: required string kind
  /** A JSON object. train: see `TrainingRequest` in src/jobs/training/request.rs. infer: `InferenceRequest` in
      src/jobs/inference/request.rs. */
  2: required string parameters
  /** train: the data set's name: a directory. Read under the coordinator's data directory if `shards` is empty.
      infer: which files of the store are asked about, as `list_files` takes it. */
  3: required string dataset
  4: required list<Shard> shards
  5: optional Shard validation
  /** Labels in class order; empty if the last column is a value to be learnt. */
  6: required list<string> classes
  /** Fail the job after this many seconds without progress; 0 or less: never. */
  7: required double give_up_after_s
  /** The last column of `dataset` is a value to be learnt, not a label. Counts if `shards` is empty. */
  8: optional bool values
  /** A random name: the same request sent twice, because its answer was lost, starts one job. */
  9: optional string request_id
  /** Its share of the nodes beside other jobs: at least 0.001 and at most 1,000; 1 if it is not given. */
  10: optional double weight
  /** Jobs of a higher priority go before all others; 0 if it is not given. */
  11: optional i32 priority
}

enum JobState {
  RUNNING = 0
  DONE = 1
  FAILED = 2
  CANCELLED = 3
}

/** A node's work at a task, or what came in its place. */
struct TaskSpan {
  /** The node's place in the list of nodes; -1 for one that is not in it any more. */
  1: required i32 node
  /** The task's round, from 1, and its place in the round, from 0. */
  2: required i32 round
  3: required i32 task
  /** When it was sent and when its end was heard of, in seconds since the job was accepted. */
  4: required double start_s
  5: required double end_s
  /** Seconds of work in between, as the node measured it. */
  6: required double busy_s
  /** "done", "refused", "lost", "abandoned", "failed". */
  7: required string outcome
  /** The simulated load delayed it. */
  8: required bool delayed
}

struct RoundReport {
  /** From 1. */
  1: required i32 round
  /** Wrong answers on the validation rows, as a share of them; of values the root mean squared error. */
  2: required double validation_error
  /** The same on the training rows, before averaging: the tasks' errors weighted by rows. */
  3: required double training_error
  /** From the end of the round before (or the start) to the end of this one. */
  4: required double wall_s
  /** Mean loss on the validation rows: minus the log-probability of the label, or half the squared error. */
  5: optional double validation_loss
  /** The same on the training rows while they were learnt from, if the nodes tell it. */
  6: optional double training_loss
  /** What nodes did since the end of the round before, in the order of its end; the first 50,000 of a job. */
  7: optional list<TaskSpan> spans
  /** Parts that were left out because the round was closed at its deadline, by their places from 0. */
  8: optional list<i32> left_out
  /** What else the kind of job tells of it, a JSON object. tune: a trial that ended, `Trial` in src/jobs/tuning. */
  9: optional string detail
}

/** How many validation rows of one class the final model takes for another, or for the same. */
struct Confused {
  /** The right class and what the model says, by their places among the classes. */
  1: required i32 label
  2: required i32 said
  3: required i64 rows
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

/** What an inference job has done. Times are seconds from the start of a query's batch on its node to its end. */
struct QueryFigures {
  /** Queries answered, with those that have an error for an answer. */
  1: required i64 done
  2: required i64 total
  /** Of those done: inputs that cannot be used. */
  3: required i64 failed
  4: required double mean_s
  5: required double std_s
  6: required double p25_s
  7: required double p50_s
  8: required double p75_s
  9: required double p95_s
  10: required double p99_s
  /** Queries a second, in the last 10 s and since the job began. */
  11: required double rate_10s
  12: required double rate_total
  /** Nodes that have a task of it now. */
  13: required i32 nodes
  /** Queries of a batch, now. */
  14: required i32 batch_size
}

/** What a job has done that learns from a stream. */
struct StreamFigures {
  /** The version of the model, from 0. */
  1: required i64 version
  /** Changes that were applied, and those that were too stale and whose rows are learnt from again. */
  2: required i64 updates
  3: required i64 stale
  /** Mini-batches and rows whose change is in the model. */
  4: required i64 batches
  5: required i64 rows
  /** Rows that wait in its queue. */
  6: required i64 waiting
  /** Versions between the one that a change started from and the one it was applied to, in the mean. */
  7: required double mean_staleness
}

/** What a job at work answers to what it is told. */
struct Heard {
  /** It has it, now or since before. False: there was no room within the time; say the same again. */
  1: required bool is_taken
  /** The version of the model that has it, or the newest. */
  2: required i64 version
  /** Of a feeder: rows that were learnt from and never will be again. */
  3: required i64 acknowledged
  /** Rows that wait. */
  4: required i64 waiting
}

struct JobStats {
  1: required string job
  2: required string kind
  /** The model's name in the store. */
  3: required string model
  4: required JobState state
  5: required double weight
  6: required i32 priority
  7: required QueryFigures figures
}

/** What a node does now. */
struct Assignment {
  /** host:port */
  1: required string node
  2: required string job
  /** The kind of the job, and what it works on. */
  3: required string kind
  4: required string subject
  /** The task, for people, and how many queries it has; 0 where queries are not counted. */
  5: required string task
  6: required i64 queries
  /** For how long. */
  7: required double seconds
  /** Why this node. */
  8: required string reason
  /** Why this job. */
  9: required string share
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
  /** When done: the blob of the final model (safetensors, with the class labels in its metadata); of an inference job
      that of its output (see src/jobs/inference/output.rs). */
  14: required string model_digest
  /** Seconds since the job was accepted; stops when it ends. */
  15: required double wall_s
  /** When done: the round whose model it is. The last, or the best if the job was to stop by itself. */
  16: optional i32 best_round
  /** When done, if classes were learnt: what the model says of the validation rows, ascending by label and said. */
  17: optional list<Confused> confusion
  /** Of an inference job. */
  18: optional QueryFigures figures
  /** Of a job that learns from a stream. */
  19: optional StreamFigures stream
  /** The newest version of its model that can be had while it is at work: a blob. */
  20: optional string version_digest
}

struct JobSummary {
  1: required string job
  2: required string kind
  3: required string dataset
  4: required JobState state
  5: required i32 round
  6: required i32 rounds
  /** When it was submitted, in milliseconds since 1970. */
  7: required i64 submitted_ms
  /** Seconds of work so far. */
  8: required double wall_s
  /** Why nothing moves, or why it failed. */
  9: required string notice
  /** The validation error of the newest closed round. */
  10: optional double validation_error
  /** Of an inference job: queries answered, and all. */
  11: optional i64 queries_done
  12: optional i64 queries_total
}

/** A version of a file. */
struct FileVersion {
  1: required string name
  /** From 1. */
  2: required i64 version
  /** SHA-256 of the content; empty if this version is a deletion. */
  3: required string digest
  4: required i64 size
  /** When it was written, in milliseconds since 1970. */
  5: required i64 created_ms
  /** The nodes that hold a copy, host:port. */
  6: required list<string> holders
}

struct GcReport {
  1: required i64 versions_removed
  2: required i64 blobs_removed
  3: required i64 bytes_removed
  4: required i64 blobs_kept
}

service coordinator extends members.member {
  /**
   * The original system's call: trains on `dir` under the coordinator's data directory and answers the final
   * validation error. Labels are the integers from 0 to k-1. A job that fails is an application exception with
   * the reason.
   */
  double train(1: string dir, 2: i32 rounds, 3: i32 epochs, 4: i32 h, 5: i32 k, 6: double eta)

  /** Starts a job and answers its id. All shards must have been put before. */
  string submit(1: JobRequest request) throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /**
   * The state of a job, as soon as its version differs from `version`, or after `wait_ms` (at most 30 s).
   * A job whose client stops asking goes on; see `cancel`.
   */
  JobStatus watch(1: string job, 2: i64 version, 3: i32 rounds_seen, 4: i32 wait_ms)
    throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** Ends a job; its tasks are abandoned. Ending a job that has ended is harmless. */
  void cancel(1: string job) throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** Lets a cancelled or failed job go on from its last durable round. */
  void resume(1: string job) throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** The figures of an inference job, or of all that are known if `job` is empty, the newest first. */
  list<JobStats> job_stats(1: string job) throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** What each node does now, by node. */
  list<Assignment> assignments() throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** Batches of this model have so many queries from now on: of its jobs at work, and of those to come that name none. */
  void set_batch_size(1: string model, 2: i32 batch_size)
    throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /**
   * Gives a job that learns from a stream more rows: a data set that was put before. Each feeder counts its own from 0; one
   * that was given before is not taken twice. Answers when it is durable, or after `wait_ms` (at most 30 s) if the
   * job's queue is full. An empty digest: this feeder has no more.
   */
  Heard feed(1: string job, 2: string feeder, 3: i64 number, 4: string digest, 5: i32 wait_ms)
    throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** The jobs at work and those that ended lately, the newest first. */
  list<JobSummary> jobs() throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** Who leads? Any coordinator answers. */
  Leadership leadership()

  /**
   * Makes a blob that was put before the next version of a file, and has `replicas` nodes hold copies (fewer if there
   * are fewer nodes). Answers when the version is durable and, if `wait_ms` suffices, copied; `holders` says where.
   */
  FileVersion put_file(1: string name, 2: string digest, 3: i64 size, 4: i32 replicas, 5: i32 wait_ms)
    throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** The versions of a file, the newest first, deletions among them; at most `limit` and 10,000. */
  list<FileVersion> file_versions(1: string name, 2: i32 limit)
    throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /**
   * The newest version of each file whose name matches a pattern (* and ? as in shells, * also across /), by name,
   * from the first after `after` on; deleted ones are left out. At most `limit` and 10,000.
   */
  list<FileVersion> list_files(1: string pattern, 2: string after, 3: i32 limit)
    throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** Deletes a file: a new version that says so. Older versions stay until they are collected. */
  FileVersion delete_file(1: string name) throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)

  /** Removes all but the newest `keep` versions of each file, and blobs that nothing refers to any more. */
  GcReport collect_garbage(1: i32 keep) throws (1: blobs.Rejected rejected, 2: NotLeader not_leader)
}
