//! Owns the process: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    roundtable::cli::main(std::env::args_os())
}
