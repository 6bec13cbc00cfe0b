//! The command line as users break it: every case has its exit code (2 for wrong usage or input, 1 for a run that
//! failed), the words that help, and neither a panic nor a debugger's view of an error.

mod support;

use roundtable::rpc::Dialer;
use roundtable::wire::coordinator::{CoordinatorSyncClient, JobState, TCoordinatorSyncClient};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Coordinator, Process, Server, finish, texts, wait_until};
use tempfile::TempDir;

/// What no message may have: panics, and errors as programmers print them.
const NOISE: &[&str] =
    &["panicked", "RUST_BACKTRACE", "Error(", "Error {", "Os {", "Err(", "Some(", "None)", "kind: ", "source: "];

/// What a command said.
struct Told {
    command: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Told {
    fn by(command: Command) -> Self {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let output = finish(command);
        let (out, err) = texts(&output);
        let told = Self { command: args.join(" "), code: output.status.code(), out, err };
        for noise in NOISE {
            assert!(!told.err.contains(noise) && !told.out.contains(noise), "{noise}: {told}");
        }
        told
    }

    /// It ended with this code, and a message that has these words and says nothing twice.
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self}");
        assert!(self.err.lines().any(|line| line.starts_with("error: ")), "{self}");
        for word in words {
            assert!(self.err.contains(word), "'{word}' is not said: {self}");
        }
        for said in ["(os error", "No such file"] {
            assert!(self.err.matches(said).count() <= 1, "'{said}' is said twice: {self}");
        }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "roundtable {} ended with {:?}\n{}{}", self.command, self.code, self.err, self.out)
    }
}

/// Runs a command line whose words have no spaces; `NOTHING` stands for an empty one.
fn run(line: &str) -> Told {
    let mut command = support::roundtable();
    command.args(line.split_whitespace().map(|word| if word == "NOTHING" { "" } else { word }));
    Told::by(command)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> String {
    std::fs::write(path, bytes).expect("the file can be written");
    path.to_string_lossy().into_owned()
}

/// Command lines that are wrong in themselves.
const WRONG: &[(&str, &[&str])] = &[
    ("compute-node 0 -0.1", &["'-0.1'", "LOAD_PROBABILITY", "from 0 to 1"]),
    ("compute-node 0 1.5", &["'1.5'", "from 0 to 1"]),
    ("compute-node 0 nan", &["'nan'", "from 0 to 1"]),
    ("compute-node 0 abc", &["'abc'", "a number from 0 to 1", "0.2"]),
    ("compute-node 0 NOTHING", &["from 0 to 1"]),
    ("compute-node 0", &["LOAD_PROBABILITY", "Usage: "]),
    ("compute-node 65536 0", &["'65536'", "PORT", "65535"]),
    ("compute-node -1 0", &["'-1'", "PORT", "65535"]),
    ("compute-node http 0", &["'http'", "PORT"]),
    ("compute-node 0 0 --slots 0", &["'0'", "--slots", "1..=1024"]),
    ("compute-node 0 0 --slots 99999", &["--slots", "1..=1024"]),
    ("compute-node 0 0 --load-delay 3", &["--load-delay", "3s"]),
    ("compute-node 0 0 --load-delay=-3s", &["--load-delay", "3s"]),
    ("compute-node 0 0 --memory 0", &["--memory", "512MiB"]),
    ("compute-node 0 0 --memory 999999999999TiB", &["--memory", "512MiB"]),
    ("compute-node 0 0 --seed=-1", &["--seed"]),
    ("compute-node 0 0 --data-dir /nowhere/at/all", &["--data-dir", "/nowhere/at/all", "no such directory"]),
    ("compute-node 0 0 --host 192.0.2.1", &["192.0.2.1:0", "this machine does not have that address"]),
    ("compute-node 0 0 --host no..host", &["no..host", "check the host"]),
    ("compute-node 0 0 --colour", &["--colour", "--help"]),
    ("coordinator", &["PORT", "POLICY"]),
    ("coordinator 0 2 --nodes /nowhere/nodes.txt", &["/nowhere/nodes.txt", "host,port", "--nodes"]),
    ("coordinator 0 2 --nodes letters", &["letters", "directory"]),
    ("client localhost 0 letters 1 1 1 1", &["'0'", "PORT", "1..=65535"]),
    ("client localhost 1 letters 0 1 1 1", &["'0'", "ROUNDS", "1..="]),
    ("client localhost 1 letters -1 1 1 1", &["'-1'", "ROUNDS", "1..="]),
    ("client localhost 1 letters 1.5 1 1 1", &["'1.5'", "ROUNDS"]),
    ("client localhost 1 letters 99999999999999999999 1 1 1", &["ROUNDS"]),
    ("client localhost 1 letters 1000001 1 1 1", &["ROUNDS", "1..=1000000"]),
    ("client localhost 1 letters 1 0 1 1", &["EPOCHS", "1..="]),
    ("client localhost 1 letters 1 1000001 1 1", &["EPOCHS", "1..=1000000"]),
    ("client localhost 1 letters 1 1 0 1", &["[H]", "from 1 to 65536"]),
    ("client localhost 1 letters 1 1 65537 1", &["[H]", "from 1 to 65536"]),
    ("client localhost 1 letters 1 1 1 0", &["ETA", "above 0"]),
    ("client localhost 1 letters 1 1 1 -0.0001", &["'-0.0001'", "ETA", "above 0"]),
    ("client localhost 1 letters 1 1 1 NaN", &["ETA", "above 0"]),
    ("client localhost 1 letters 1 1 1 inf", &["ETA", "at most 1e6"]),
    ("client localhost 1 letters 1 1 1 1e300", &["ETA", "at most 1e6"]),
    ("client localhost 1 letters 1 1 1 fast", &["ETA", "a number", "0.0001"]),
    ("client localhost 1 letters 1 1 1", &["<ETA>", "--recipe", "Usage: "]),
    ("client localhost 1 letters 1 1 1 1 1", &["unexpected argument '1'"]),
    ("client localhost 1 letters 1 1 1 1 --give-up-after 5", &["--give-up-after", "3s"]),
    ("client localhost 1 letters 1 1 1 1 --seed x", &["--seed", "'x'"]),
    ("client localhost 1 letters 1 1 1 1 --model-out m.bin", &["--model-out m.bin", ".safetensors"]),
    ("client localhost 1 letters 1 1 1 1 --model-out m", &["--model-out m", ".safetensors"]),
    ("client localhost 1 letters 1 1 1 1 --model-out .safetensors", &["--model-out", "must end in .safetensors"]),
    ("client localhost 1 letters 1 1 1 1 --model-out /nowhere/m.safetensors", &["/nowhere", "no such directory"]),
    ("client localhost 1 letters 1 1 1 1 --timing /nowhere/t.txt", &["/nowhere/t.txt", "--timing"]),
    ("client localhost 1 letters 1 1 1 1 --timing letters", &["letters", "--timing"]),
    ("predict", &["MODEL", "CSV", "Usage: "]),
    ("predict /nowhere/m.safetensors rows.csv", &["/nowhere/m.safetensors", "No such file"]),
    ("predict letters rows.csv", &["letters", "directory"]),
    ("predict letters/README.md rows.csv", &["letters/README.md", "--model-out", "not a model"]),
    ("demo --policy nobody", &["'nobody'", "1 random"]),
    ("demo --data /nowhere", &["/nowhere", "--data DIR"]),
    ("demo --training 0 5 12 0.0001", &["'0'", "ROUNDS", "1..="]),
    ("demo --training 2 5 12 -1", &["'-1'", "ETA", "above 0"]),
    ("demo --training 2 5 12", &["--training"]),
    ("demo --model-out /nowhere/m.safetensors", &["/nowhere", "no such directory"]),
    ("train", &["'train'", "--help"]),
    ("Client localhost", &["'Client'", "--help"]),
    ("--verbose", &["'--verbose'", "--help"]),
];

#[test]
fn wrong_command_lines_are_told_what_is_right() {
    for (line, words) in WRONG {
        let told = run(line);
        told.fails(2, words);
        assert_eq!(told.out, "", "{told}");
    }
}

#[test]
fn an_unknown_policy_is_told_all_choices() {
    for unknown in ["nobody", "0", "-1", "4294967297", "NOTHING"] {
        let told = run(&format!("coordinator 0 {unknown}"));
        told.fails(2, &["there is no policy"]);
        for row in roundtable::policy::POLICIES {
            told.fails(2, &[&format!("{} {}", row.number, row.name)]);
        }
    }
}

#[test]
fn help_names_every_command_and_every_policy() {
    let nothing = run("");
    assert_eq!(nothing.code, Some(2), "{nothing}");
    let help = run("--help");
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{help}");
    assert_eq!(nothing.err, help.out, "without arguments the help is shown");
    let commands: Vec<&str> = help.out.lines().skip_while(|line| *line != "Commands:").skip(1).collect();
    let commands = commands.into_iter().take_while(|line| line.starts_with("  "));
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    for command in ["compute-node", "coordinator", "client", "demo", "predict", "evaluate", "report", "help"] {
        assert!(commands.contains(&command), "{command}: {help}");
    }
    for command in commands.into_iter().filter(|name| *name != "help") {
        let told = run(&format!("{command} --help"));
        assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{told}");
        assert!(told.out.contains("Usage: roundtable"), "{told}");
        assert_eq!(told.out, run(&format!("help {command}")).out);
    }
    let coordinator = run("coordinator --help").out;
    for row in roundtable::policy::POLICIES {
        let words = coordinator.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&format!("{} {} ({})", row.number, row.name, row.about)), "{coordinator}");
    }
    let version = run("--version");
    assert_eq!((version.code, version.out), (Some(0), format!("roundtable {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn lists_of_nodes_that_cannot_be_used() {
    let directory = directory();
    let file = directory.path().join("nodes.txt");
    let cases: &[(&[u8], &[&str])] = &[
        (b"", &["names no compute nodes", "host,port"]),
        (b"# nobody yet\n\n", &["names no compute nodes"]),
        (b"localhost 9091\n", &["nodes.txt:1", "'localhost 9091' is not host,port"]),
        (b"a,9091\nb,port\n", &["nodes.txt:2", "'port' is no port", "65535"]),
        (b"a,9091\n# b\nb,65536\n", &["nodes.txt:3", "'65536' is no port"]),
        (b"a,0", &["nodes.txt:1", "'0' is no port"]),
        (b"a,-1", &["nodes.txt:1", "'-1' is no port"]),
        (b",9091", &["nodes.txt:1", "no host name"]),
        (b"a,9091,0.2", &["nodes.txt:1"]),
        (b"a,9091\na,9091", &["nodes.txt:2", "a:9091 is there already"]),
        (b"\xff\xfe\x00,1", &["nodes.txt", "UTF-8"]),
    ];
    for (text, words) in cases {
        let path = write(&file, text);
        let told = run(&format!("coordinator 0 2 --nodes {path}"));
        told.fails(2, words);
        assert_eq!(told.out, "", "{told}");
    }
    // The default is in the working directory; without it nodes can only come by gossip.
    let mut command = support::roundtable();
    command.current_dir(directory.path()).args(["coordinator", "0", "2", "--no-gossip"]);
    Told::by(command).fails(2, &["compute_nodes.txt", "No such file", "--nodes FILE"]);
}

#[test]
fn a_port_in_use_is_named() {
    let node = Server::node("0", &[]);
    let port = node.address.port();
    let words = [&*node.address.to_string(), "in use", "another port"];
    run(&format!("compute-node {port} 0")).fails(2, &words);
    let directory = directory();
    let nodes = write(&directory.path().join("nodes.txt"), "localhost,9091");
    run(&format!("coordinator {port} 2 --nodes {nodes}")).fails(2, &words);
}

#[test]
fn coordinators_that_cannot_be_had() {
    let free = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address")
    };
    let client = |host: &str, port: u16| format!("client {host} {port} letters 1 1 1 0.1 --timing /dev/null");
    let told = run(&client("127.0.0.1", free.port()));
    told.fails(1, &[&free.to_string(), "refused", "is it running"]);
    // A name that no name server needs to be asked about.
    run(&client("no..host", 9095)).fails(1, &["no..host:9095", "check its name"]);
    let node = Server::node("0", &[]);
    run(&client("127.0.0.1", node.address.port()))
        .fails(1, &[&node.address.to_string(), "another kind of server"]);
    // A server of something else: it answers in another language and hangs up.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = listener.local_addr().expect("its address");
    let serve = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("the client comes");
        peer.write_all(b"220 mail.example.org ESMTP\r\n").expect("it listens");
        // What the client sends is read, or closing would take our words back.
        let _ = std::io::copy(&mut peer, &mut std::io::sink());
    });
    run(&client("127.0.0.1", other.port())).fails(1, &[&other.to_string(), "Thrift", "right port"]);
    serve.join().expect("no panic");
}

/// A coordinator with one node.
struct Cluster {
    coordinator: Coordinator,
    _node: Server,
}

impl Cluster {
    fn start(more: &[&str]) -> Self {
        let node = Server::node("0", &[]);
        Self { coordinator: Coordinator::start("2", &[node.address], more), _node: node }
    }

    fn client(&self, directory: &str, settings: &str, more: &[&str]) -> Told {
        Told::by(self.coordinator.client(&format!("{directory} {settings}"), more))
    }

    /// A data set in a directory of this name, with these files.
    fn data(&self, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let path = self.coordinator.path(name);
        std::fs::create_dir_all(&path).expect("a directory for the data");
        for (file, bytes) in files {
            write(&path.join(file), bytes);
        }
        path
    }
}

const TINY: &str = "1 1 2 0.1";
const GOOD: &[u8] = b"1,2,A\n3,4,B\n";

/// A directory's name, its files, and what is said of it.
type Broken = (&'static str, &'static [(&'static str, &'static [u8])], &'static [&'static str]);

/// Data sets that cannot be used.
const BROKEN: &[Broken] = &[
    ("nothing", &[], &["no training files", "train*.txt"]),
    ("untrained", &[("validate.txt", GOOD)], &["no training files", "train*.txt"]),
    ("unproved", &[("train1.txt", GOOD)], &["no validation file", "validate*.txt"]),
    ("torn", &[("train1.txt", GOOD), ("valid.txt", GOOD), ("validate.csv", GOOD)], &["2 validation files"]),
    ("word", &[("train1.txt", b"1,2,A\n3,x,B\n"), ("valid.txt", GOOD)], &["train1.txt:2:2", "\"x\"", "a number"]),
    ("hole", &[("train1.txt", b"1,2,A\n3,,B\n"), ("valid.txt", GOOD)], &["train1.txt:2:2", "a number"]),
    ("ragged", &[("train1.txt", b"1,2,A\n3,B\n"), ("valid.txt", GOOD)], &["train1.txt:2", "2 fields", "3 fields"]),
    ("wide", &[("train1.txt", b"1,2,A\n3,4,5,B\n"), ("valid.txt", GOOD)], &["train1.txt:2", "4 fields"]),
    ("empty", &[("train1.txt", b""), ("valid.txt", GOOD)], &["train1.txt", "the file is empty"]),
    ("blank", &[("train1.txt", b"\n\n \n"), ("valid.txt", GOOD)], &["train1.txt"]),
    ("headed", &[("train1.txt", b"x,y,label\n"), ("valid.txt", GOOD)], &["train1.txt", "below the header"]),
    ("nan", &[("train1.txt", b"1,2,A\nNaN,4,B\n"), ("valid.txt", GOOD)], &["train1.txt:2:1", "NaN", "finite"]),
    ("infinite", &[("train1.txt", b"1,2,A\n3,inf,B\n"), ("valid.txt", GOOD)], &["train1.txt:2:2", "finite"]),
    ("huge", &[("train1.txt", b"1,1e39,A\n3,4,B\n"), ("valid.txt", GOOD)], &["train1.txt:1:2", "32-bit float"]),
    ("binary", &[("train1.txt", b"\x00\xff,\xfe\n\x01"), ("valid.txt", GOOD)], &["train1.txt:1:1"]),
    ("quoted", &[("train1.txt", b"1,2,\"A\n3,4,B\n"), ("valid.txt", GOOD)], &["train1.txt:1", "closing quote"]),
    ("unlabelled", &[("train1.txt", b"1,2,A\n3,4,\n"), ("valid.txt", GOOD)], &["train1.txt:2:3", "a label"]),
    ("alone", &[("train1.txt", b"1,2,A\n"), ("valid.txt", b"1,2,A\n")], &["1 different label;", "from 2 to"]),
    ("strange", &[("train1.txt", GOOD), ("valid.txt", b"1,2,A\n3,4,Z\n")], &["valid.txt:2", "\"Z\"", "unknown"]),
    (
        "unequal",
        &[("train1.txt", GOOD), ("valid.txt", b"1,A\n")],
        &["valid.txt has 1 features", "train1.txt has 2"],
    ),
    ("second", &[("train1.txt", GOOD), ("train2.txt", b"1,A\n"), ("valid.txt", GOOD)], &["train2.txt has 1"]),
    ("folder", &[("train1.txt", GOOD)], &["no validation file"]),
];

#[test]
fn data_that_cannot_be_used_are_told_where() {
    let cluster = Cluster::start(&[]);
    for (name, files, words) in BROKEN {
        let path = cluster.data(name, files);
        let path = path.to_string_lossy();
        for json in [&["--json"][..], &[]] {
            let told = cluster.client(&path, TINY, json);
            told.fails(2, words);
            told.fails(2, &[name]);
            assert!(json.is_empty() || told.out.is_empty(), "{told}");
        }
    }
    let file = write(&cluster.coordinator.path("file"), GOOD);
    cluster.client(&file, TINY, &[]).fails(2, &["file is not a directory", "expected"]);
    let pipe = cluster.data("piped", &[("train1.txt", GOOD)]);
    std::fs::create_dir(pipe.join("valid.txt")).expect("a directory");
    cluster.client(&pipe.to_string_lossy(), TINY, &[]).fails(2, &["valid.txt is not a regular file"]);
}

#[test]
fn data_that_only_the_coordinator_has_are_told_where_too() {
    let root = directory();
    let cluster = Cluster::start(&["--data-dir", &root.path().to_string_lossy()]);
    let words =
        |name: &str| [format!("{name} is not on this machine"), cluster.coordinator.server.address.to_string()];
    for name in ["nowhere", "../..", "/etc-of-nobody"] {
        let told = cluster.client(name, TINY, &["--json"]);
        if name != "../.." {
            told.fails(2, &words(name).each_ref().map(String::as_str));
            told.fails(2, &["in the data directory"]);
        }
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{told}");
    }
    let (name, files, told) = BROKEN.iter().find(|(name, ..)| *name == "word").expect("it is there");
    std::fs::create_dir(root.path().join(name)).expect("a directory");
    for (file, bytes) in *files {
        write(&root.path().join(name).join(file), bytes);
    }
    let refused = cluster.client(name, TINY, &[]);
    refused.fails(2, told);
    refused.fails(2, &words(name).each_ref().map(String::as_str));
}

#[test]
fn runs_that_fail_leave_standard_output_to_the_programs() {
    // A coordinator whose only node is not there.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let coordinator = Coordinator::start("1", &[free], &[]);
    let job = coordinator.client("letters 1 1 2 0.1", &["--give-up-after", "200ms", "--json"]);
    let told = Told::by(job);
    told.fails(1, &["job 1 failed", "no progress for 200ms", &free.to_string(), "refused"]);
    assert_eq!(told.out, "", "{told}");
    // One that has no room for the data.
    let cluster = Cluster::start(&["--memory", "1000"]);
    let told = cluster.client("letters", TINY, &["--json"]);
    told.fails(2, &[&cluster.coordinator.server.address.to_string(), "--memory"]);
    assert_eq!(told.out, "", "{told}");
}

#[test]
fn bad_files_for_the_model_are_told_before_training() {
    let cluster = Cluster::start(&[]);
    let missing = cluster.coordinator.path("missing/m.safetensors").to_string_lossy().into_owned();
    for (path, words) in [("m.pt", "must end in .safetensors, .onnx or .npz"), (&missing, "no such directory")] {
        let told = cluster.client("letters", "1000 1000 24 0.0001", &["--model-out", path]);
        told.fails(2, &["--model-out", path, words]);
        assert_eq!(told.out, "", "{told}");
    }
    let directory = cluster.data("d.safetensors", &[]);
    let told = cluster.client("letters", "1000 1000 24 0.0001", &["--model-out", &directory.to_string_lossy()]);
    told.fails(2, &["--model-out", "is a directory"]);
}

#[test]
fn a_failed_client_makes_no_files() {
    let directory = directory();
    let mut command = support::roundtable();
    command.current_dir(directory.path());
    command.args("client 127.0.0.1 1 letters 1 1 1 1 --model-out m.safetensors".split(' '));
    Told::by(command).fails(1, &["127.0.0.1:1", "is it running"]);
    assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0);
}

#[test]
fn predictions() {
    let cluster = Cluster::start(&[]);
    let path = |name: &str| cluster.coordinator.path(name);
    let model = path("m.safetensors").to_string_lossy().into_owned();
    cluster.coordinator.train("letters 2 5 12 0.0001", &["--model-out", &model]);
    let bytes = std::fs::read(&model).expect("the model");

    let row = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,0";
    let rows: &[(&str, String, &[&str])] = &[
        ("labelled.csv", format!("{row}\n{row},A\n"), &["labelled.csv:2", "17 fields", "looks like a label"]),
        ("narrow.csv", "1,2,3\n".to_owned(), &["narrow.csv:1", "3 fields", "16 features"]),
        ("wide.csv", format!("{row},1,2,3\n"), &["wide.csv:1", "19 fields", "16 features"]),
        ("empty.csv", String::new(), &["empty.csv", "the file is empty"]),
        ("words.csv", format!("{row}\n{}\n", row.replace(",5,", ",x,")), &["words.csv:2:5", "\"x\""]),
        ("nan.csv", format!("{row}\n{}\n", row.replace(",15,", ",NaN,")), &["nan.csv:2:15", "finite"]),
    ];
    for (name, text, words) in rows {
        let told = run(&format!("predict {model} {}", write(&path(name), text)));
        told.fails(2, words);
        assert_eq!(told.out, "", "{told}");
    }
    run(&format!("predict {model} /nowhere/rows.csv")).fails(2, &["/nowhere/rows.csv", "No such file"]);
    run(&format!("predict {model} letters")).fails(2, &["letters is not a regular file"]);

    let good = write(&path("rows.csv"), format!("{row}\n").repeat(3));
    let garbage: &[(&str, Vec<u8>)] = &[
        ("empty", Vec::new()),
        ("short", bytes[..50].to_vec()),
        ("cut", bytes[..bytes.len() - 1].to_vec()),
        ("long", [&bytes[..], b"x"].concat()),
        ("noise", (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("text", b"this is no model at all\n".repeat(9)),
    ];
    for (name, bytes) in garbage {
        let file = write(&path(&format!("{name}.safetensors")), bytes);
        run(&format!("predict {file} {good}")).fails(2, &[name, "--model-out", "not a model"]);
    }
    let told = run(&format!("predict {model} {good}"));
    assert_eq!((told.code, told.err.as_str(), told.out.lines().count()), (Some(0), "", 3), "{told}");

    // Far more than a pipe holds, to a reader that has enough after a line.
    let mut many = String::new();
    for _ in 0..100_000 {
        writeln!(many, "{row}").expect("a string");
    }
    let many = write(&path("many.csv"), many);
    let mut command = support::roundtable();
    command.args(["predict", &model, &many]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut predict = Process { child: command.spawn().expect("it starts") };
    let mut line = String::new();
    let mut out = BufReader::new(predict.child.stdout.take().expect("it is piped"));
    out.read_line(&mut line).expect("a line");
    drop(out);
    let status = predict.wait();
    let err = std::io::read_to_string(predict.child.stderr.take().expect("it is piped")).expect("text");
    assert_eq!((status.code(), err.as_str(), line.ends_with('\n')), (Some(0), "", true));
}

#[test]
fn a_client_whose_reader_has_gone_cancels_its_job_and_ends_quietly() {
    let cluster = Cluster::start(&[]);
    let mut command = cluster.coordinator.client("letters 1000000 1 2 0.0001", &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Process { child: command.spawn().expect("it starts") };
    let mut out = BufReader::new(client.child.stdout.take().expect("it is piped"));
    out.read_line(&mut String::new()).expect("a line");
    drop(out);
    let status = client.wait();
    let err = std::io::read_to_string(client.child.stderr.take().expect("it is piped")).expect("text");
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
    let address = cluster.coordinator.server.address.into();
    let mut client = Dialer::default().dial(&address).expect("it answers").client(CoordinatorSyncClient::new);
    wait_until("the job is cancelled", || {
        let status = client.call(|c| c.watch("1".to_owned(), 0, 0, 0)).expect("a status");
        status.state == JobState::CANCELLED
    });
}
