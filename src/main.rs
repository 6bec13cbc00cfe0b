//! Owns the process: arguments in, exit code out.

/// Blocks that are smaller stay with the process when they are freed, up to twice as much in a row.
const LARGE_BLOCK: usize = 8 << 20;

fn main() -> std::process::ExitCode {
    keep_freed_blocks();
    roundtable::cli::main(std::env::args_os())
}

/// Lets the allocator keep blocks of the size of a model: one that a task frees is wanted by the next.
///
/// glibc gives large blocks back to the system until it has seen one freed, and takes the size of that for large from
/// then on (mallopt(3), `M_MMAP_THRESHOLD`). Other allocators only give and take back a block that nobody touches.
fn keep_freed_blocks() {
    // Its header and page are to be within the size.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BLOCK - (8 << 10))));
}
