//! The suite on an S3 server: moto, which the test starts on a free port of loopback and ends.
//!
//! The backend takes its settings from the environment, as users give them. So the suite runs in a process of its own
//! that has them: this program once more, with the tests that are otherwise left out.

use super::place::Place;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Names the Python that has moto; that of `tests/interop/run.sh` by default.
const PYTHON: &str = "ROUNDTABLE_PYTHON";

/// A server that ends with the test.
struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends by itself, too, when this process does.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> Option<PathBuf> {
    let python = std::env::var_os(PYTHON).map(PathBuf::from);
    let python = python.unwrap_or_else(|| root().join("target/interop-venv/bin/python"));
    let has_moto = Command::new(&python).args(["-c", "import moto.server"]).stderr(Stdio::null()).status();
    has_moto.is_ok_and(|status| status.success()).then_some(python)
}

fn start(python: &Path) -> Server {
    let mut command = Command::new(python);
    command.arg(root().join("tests/interop/s3_server.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Server { process: command.spawn().expect("python starts"), port: 0 };
    let mut line = String::new();
    let output = server.process.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says its port, or ends");
    server.port = line.trim().parse().expect("a port");
    server
}

#[test]
fn the_suite_passes_on_an_s3_server() {
    let Some(python) = python() else {
        assert!(std::env::var_os(PYTHON).is_none(), "{PYTHON} names no Python with moto");
        println!("skipped: no moto here; run tests/interop/run.sh once, or set {PYTHON}");
        return;
    };
    let server = start(&python);
    let mut suite = Command::new(std::env::current_exe().expect("this program"));
    suite.args(["s3::on_moto::", "--ignored", "--test-threads=4", "--nocapture"]);
    suite.env("AWS_ENDPOINT", format!("http://127.0.0.1:{}", server.port)).env("AWS_ALLOW_HTTP", "true");
    suite.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").env("AWS_REGION", "us-east-1");
    suite.env_remove("AWS_SESSION_TOKEN").env_remove("HTTP_PROXY").env_remove("http_proxy");
    let output = suite.output().expect("this program starts again");
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(!out.contains("running 0 tests"), "{out}");
    print!("{out}");
}

mod on_moto {
    use super::*;

    /// A prefix of the bucket that nobody else has.
    fn place() -> Place {
        let prefix: String = std::thread::current().name().unwrap_or("none").replace("::", "/");
        Place::at(&format!("s3://bucket/{prefix}/{:x}", rand::random::<u64>()))
    }

    crate::backends::backends_suite!([ignore = "see the_suite_passes_on_an_s3_server"] backends, crate::s3::on_moto::place());
    crate::archive::archive_suite!([ignore = "see the_suite_passes_on_an_s3_server"] archive, crate::s3::on_moto::place());
    crate::collection::collection_suite!([ignore = "see the_suite_passes_on_an_s3_server"] collection, crate::s3::on_moto::place());
    crate::blobs::blobs_suite!([ignore = "see the_suite_passes_on_an_s3_server"] blobs, crate::s3::on_moto::place());

    #[test]
    #[ignore = "see the_suite_passes_on_an_s3_server"]
    fn a_large_upload_needs_little_memory() {
        crate::blobs::a_large_upload_needs_little_memory(&place(), 128 << 20);
    }

    #[test]
    #[ignore = "see the_suite_passes_on_an_s3_server"]
    fn any_operations_do_as_on_a_map() {
        crate::backends::any_operations_do_as_on_a_map(place, 8);
    }

    #[test]
    #[ignore = "see the_suite_passes_on_an_s3_server"]
    fn a_bucket_that_is_not_there_is_told() {
        let backend = roundtable::store::open("s3://no-such-bucket").unwrap();
        let error = backend.put_new("a", b"").unwrap_err().to_string();
        assert!(error.contains("s3://no-such-bucket") && error.contains("NoSuchBucket"), "{error}");
    }

    #[test]
    #[ignore = "see the_suite_passes_on_an_s3_server"]
    fn who_writes_and_does_not_hear_of_it_has_still_won() {
        let backend = place().backend;
        assert_eq!(backend.put_new("answer-lost/1", b"mine"), Ok(true), "it was tried again, and found its own");
        assert_eq!(backend.put_new("answer-lost/1", b"mine"), Ok(false), "the same bytes are not the same writer");
        assert_eq!(backend.get("answer-lost/1"), Ok(Some(b"mine".to_vec())));
    }

    #[test]
    #[ignore = "see the_suite_passes_on_an_s3_server"]
    fn broken_parts_of_an_upload_are_removed() {
        let place = place();
        let mut upload = place.backend.upload("blobs/large").unwrap();
        upload.write(&vec![1; 20 << 20]).unwrap();
        drop(upload);
        assert_eq!(place.backend.list("", "", 9), Ok(Vec::new()));
        let mut upload = place.backend.upload("blobs/large").unwrap();
        let bytes: Vec<u8> = (0..20 << 20).map(|place: usize| (place / 11) as u8).collect();
        bytes.chunks(3_000_001).for_each(|chunk| upload.write(chunk).unwrap());
        upload.finish().unwrap();
        assert!(place.backend.get("blobs/large").unwrap().as_ref() == Some(&bytes));
    }
}
