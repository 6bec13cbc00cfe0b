/** What every server of ours answers about itself and about the others: membership by gossip. */
include "blobs.thrift"

namespace rs wire.generated
namespace py roundtable.members

enum Role {
  NODE = 0
  COORDINATOR = 1
}

enum MemberState {
  ALIVE = 0
  /** It did not answer; unless it says otherwise in time, it is taken for dead. */
  SUSPECT = 1
  DOWN = 2
  /** It finishes its work, takes no more, and then leaves. */
  LEAVING = 3
}

/** A process as the asked one knows it. */
struct Member {
  /** host:port of its calls; gossip goes to the same port by UDP. */
  1: required string address
  2: required Role role
  3: required MemberState state
  /** Grows each time that it refutes a suspicion. */
  4: required i64 incarnation
  /** A random name that changes when the process restarts. */
  5: required string instance
}

/** What a process says of itself. */
struct MemberInfo {
  1: required Member me
  /** "roundtable 0.1.0" */
  2: required string software
  /** Of a coordinator the epoch that it leads in or last heard of; of a node the highest that it has obeyed. */
  3: required i64 epoch
  /** Whether it is the coordinator that leads. */
  4: required bool leads
  /** Of a node: tasks that it can run at once, and tasks that it runs. */
  5: required i32 slots
  6: required i32 busy
  /** Of a node: its simulated load probability. */
  7: required double load
  /** Gossip sent and received, averaged over the last 10 s. */
  8: required double gossip_sent_per_s
  9: required double gossip_received_per_s
  /** Copies of files that it holds for others. */
  10: required i64 held_blobs
  11: required i64 held_bytes
  /** Seconds since it started. */
  12: required double uptime_s
}

service member extends blobs.blob_store {
  /** All members that the asked one knows, itself first, then by address. */
  list<Member> members()

  /** Who are you? */
  MemberInfo member_info()

  /**
   * Takes no more work, finishes what it has, tells the others, and ends. Answers at once.
   */
  void leave() throws (1: blobs.Rejected rejected)
}
