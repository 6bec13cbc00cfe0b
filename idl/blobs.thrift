/**
 * Content-addressed bytes, as every roundtable server keeps them.
 *
 * A blob is named by the lower-case hexadecimal SHA-256 of its bytes. Large blobs travel in chunks,
 * so that no message is larger than 1 MiB and a bit.
 */
namespace rs wire.generated
namespace py roundtable.blobs

/** A call that cannot be served; `reason` is for a person to read. */
exception Rejected {
  1: required string reason
}

struct Blob {
  1: required string digest
  2: required binary bytes
}

service blob_store {
  /** Those of `digests` that the server does not have, in the order given. At most 65,536 digests. */
  list<string> missing_blobs(1: list<string> digests) throws (1: Rejected rejected)

  /**
   * Sends bytes [offset, offset + chunk) of a blob of `total` bytes. Chunks of one blob come in order; the last one
   * makes the blob available, if the bytes match the digest. Sending a blob that the server has is harmless. An
   * upload whose connection broke may go on, on another one, from where `blob_progress` says.
   */
  void put_blob(1: string digest, 2: i64 offset, 3: i64 total, 4: binary chunk) throws (1: Rejected rejected)

  /** At most `limit` bytes of a blob from `offset` on; fewer at its end, and at most 1 MiB in any case. */
  binary get_blob(1: string digest, 2: i64 offset, 3: i64 limit) throws (1: Rejected rejected)

  /**
   * How many bytes of a blob the server has: all of `total` if it has the blob, those of an upload that was broken
   * off and may go on from there, or 0.
   */
  i64 blob_progress(1: string digest, 2: i64 total) throws (1: Rejected rejected)
}
