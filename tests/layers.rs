//! The house rules of the sources: which module may use which, what the pure ones must not touch, how files begin.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with its layer and the modules that it may use: only those of lower layers.
const MODULES: &[(&str, u8, &[&str])] = &[
    ("types", 0, &[]),
    ("priority", 0, &[]),
    ("data", 1, &["types"]),
    ("policy", 1, &["types"]),
    ("placement", 1, &["types"]),
    ("membership", 1, &["types"]),
    ("model", 2, &["types", "data"]),
    ("graph", 3, &["types", "data", "model"]),
    ("predictor", 4, &["types", "data", "model", "graph"]),
    ("jobs", 5, &["types", "data", "model", "predictor"]),
    ("local", 6, &["types", "data", "model", "jobs"]),
    ("ledger", 6, &["types", "data", "model", "jobs"]),
    ("wire", 6, &["types", "model"]),
    ("engine", 7, &["types", "data", "model", "policy", "jobs", "ledger"]),
    ("tenure", 7, &["types", "data", "ledger"]),
    ("ingest", 7, &["data"]),
    ("rpc", 7, &["types", "wire"]),
    ("store", 8, &["types", "data", "wire", "rpc"]),
    ("gossip", 8, &["types", "wire", "membership"]),
    (
        "node",
        9,
        &["types", "priority", "data", "model", "policy", "jobs", "wire", "rpc", "store", "gossip", "ingest"],
    ),
    (
        "coordinator",
        9,
        &[
            "types",
            "priority",
            "data",
            "model",
            "policy",
            "placement",
            "predictor",
            "jobs",
            "ledger",
            "engine",
            "tenure",
            "wire",
            "rpc",
            "store",
            "gossip",
            "ingest",
        ],
    ),
    ("client", 9, &["types", "data", "model", "jobs", "local", "wire", "rpc", "ingest"]),
    ("sim", 9, &["types", "data", "model", "policy", "membership", "jobs", "local", "ledger", "engine", "tenure"]),
    ("http", 10, &["types", "data", "model", "jobs", "ledger", "coordinator"]),
    ("queue", 10, &["types", "data", "jobs", "ledger", "coordinator"]),
    ("report", 10, &["jobs", "client", "sim"]),
    (
        "cli",
        11,
        &[
            "data",
            "gossip",
            "model",
            "predictor",
            "policy",
            "jobs",
            "local",
            "wire",
            "rpc",
            "store",
            "ingest",
            "node",
            "coordinator",
            "client",
            "http",
            "queue",
            "sim",
            "report",
        ],
    ),
    ("lib", 12, &["cli"]),
    ("main", 12, &[]),
];

/// The modules that know nothing of the world around them.
const PURE: &[&str] = &[
    "types",
    "data",
    "membership",
    "placement",
    "policy",
    "model",
    "graph",
    "predictor",
    "jobs",
    "local",
    "ledger",
    "engine",
    "tenure",
    "sim",
    "report",
];

/// What those must not touch: sockets, files, threads, clocks, global random numbers, printing, hash order.
const BANNED: &[&str] = &[
    "std::net",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "rand::random",
    "rand::rng",
    "thread_rng",
    "from_os_rng",
    "println!",
    "print!(",
    "dbg!",
    "log::",
    "HashMap",
    "HashSet",
];

/// Each with its module, its place under `src`, and its text.
fn source_files() -> Vec<(String, PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for root in ["src", "crates/engine/src", "crates/learning/src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        let mut paths = Vec::new();
        walk(&root, &mut paths);
        assert!(paths.len() > 30, "only {} files were found in {}", paths.len(), root.display());
        files.extend(paths.into_iter().map(|path| {
            let inside = path.strip_prefix(&root).expect("it is in src").to_path_buf();
            let first = inside.components().next().expect("it has a name").as_os_str().to_string_lossy();
            let text = fs::read_to_string(&path).expect("a source file is text");
            (first.trim_end_matches(".rs").to_owned(), inside, text)
        }));
    }
    files.retain(|(_, inside, _)| !inside.starts_with("wire/generated"));
    files
}

/// The text without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules that a text uses by `crate::name`, also within braces.
fn used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for after in code.split("crate::").skip(1) {
        let names = match after.strip_prefix('{') {
            Some(braces) => braces.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![after],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            used.push(name);
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

#[test]
fn the_table_is_acyclic_and_complete() {
    let layers: BTreeMap<&str, u8> = MODULES.iter().map(|&(name, layer, _)| (name, layer)).collect();
    for &(name, layer, uses) in MODULES {
        for used in uses {
            assert!(layers[used] < layer, "{name} (layer {layer}) may not use {used} (layer {})", layers[used]);
        }
    }
    for (module, path, _) in source_files() {
        assert!(layers.contains_key(module.as_str()), "{} is of no module in the table", path.display());
    }
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (module, path, text) in source_files() {
        let Some((_, _, allowed)) = MODULES.iter().find(|(name, ..)| *name == module) else { continue };
        for used in used(&code(&text)) {
            let is_module = MODULES.iter().any(|(name, ..)| *name == used);
            if is_module && used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for (module, path, text) in source_files() {
        let is_test = path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
        if !PURE.contains(&module.as_str()) || is_test {
            continue;
        }
        let code = code(&text);
        wrong.extend(
            BANNED.iter().filter(|banned| code.contains(*banned)).map(|b| format!("{}: {b}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_begin_with_what_they_own() {
    for (_, path, text) in source_files() {
        assert!(text.starts_with("//! "), "{} does not begin with //!", path.display());
    }
}

#[test]
fn unsafe_code_stands_in_the_kernels_only() {
    for (_, path, text) in source_files() {
        let has = code(&text).contains("unsafe ") || code(&text).contains("unsafe{");
        assert!(!has || path.starts_with("model/kernels"), "{} has unsafe code", path.display());
    }
}
