//! Owns the names that commands had in the consoles that this one takes the place of.

use anyhow::ensure;

/// An old name, and what is made of it.
struct OldName {
    name: &'static str,
    /// What it is now, for people.
    now: &'static str,
    /// The command of today, of the words after the name.
    translate: fn(&[String]) -> Vec<String>,
}

const OLD: &[OldName] = &[
    OldName { name: "C1", now: "job-stats", translate: |rest| with(&["job-stats"], rest) },
    OldName { name: "C2", now: "job-stats", translate: |rest| with(&["job-stats"], rest) },
    OldName { name: "C3", now: "set-batch-size MODEL N", translate: |rest| with(&["set-batch-size"], rest) },
    OldName { name: "C4", now: "infer MODEL PATTERN", translate: infer },
    OldName { name: "C5", now: "assignments", translate: |rest| with(&["assignments"], rest) },
    OldName { name: "submit-job", now: "infer MODEL PATTERN [BATCH]", translate: infer },
    OldName { name: "infer", now: "infer MODEL PATTERN [BATCH]", translate: infer },
    OldName { name: "train", now: "client DIR ROUNDS EPOCHS H ETA", translate: |rest| with(&["client"], rest) },
    OldName { name: "job_info", now: "job-info", translate: |rest| with(&["job-info"], rest) },
    OldName { name: "job_stats", now: "job-stats", translate: |rest| with(&["job-stats"], rest) },
    OldName { name: "upload_data", now: "put-all 'NAME.*.ENDING' [--count N]", translate: upload },
    OldName { name: "list_mem", now: "members", translate: |rest| with(&["members"], rest) },
    OldName { name: "list_self", now: "self-id", translate: |rest| with(&["self-id"], rest) },
];

fn with(first: &[&str], rest: &[String]) -> Vec<String> {
    first.iter().map(|word| (*word).to_owned()).chain(rest.iter().cloned()).collect()
}

/// `infer MODEL DATASET BATCH`; a data set `name.ending` are the files `name.*.ending`, if it is named as they did.
fn infer(rest: &[String]) -> Vec<String> {
    match rest {
        [model, dataset, batch] if batch.parse::<u32>().is_ok() => {
            with(&["infer", model, &pattern(dataset), "--batch-size", batch], &[])
        }
        rest => with(&["infer"], rest),
    }
}

/// `upload_data DATASET [COUNT]`
fn upload(rest: &[String]) -> Vec<String> {
    match rest {
        [dataset, count] if count.parse::<u32>().is_ok() => {
            with(&["put-all", &pattern(dataset), "--count", count], &[])
        }
        [dataset] => with(&["put-all", &pattern(dataset)], &[]),
        rest => with(&["put-all"], rest),
    }
}

/// A data set of pictures, `lenet.png`, means `lenet.*.png`; what is a pattern already, or a table, is left alone.
fn pattern(dataset: &str) -> String {
    match dataset.rsplit_once('.') {
        Some((name, ending @ ("png" | "jpg" | "jpeg"))) if !dataset.contains(['*', '?', '[', '/']) => {
            format!("{name}.*.{ending}")
        }
        _ => dataset.to_owned(),
    }
}

/// The words with today's name for a command.
pub(super) fn todays(words: Vec<String>) -> anyhow::Result<Vec<String>> {
    let Some((name, rest)) = words.split_first() else { return Ok(words) };
    let old =
        OLD.iter().find(|old| old.name == name || (old.name.len() == 2 && old.name.eq_ignore_ascii_case(name)));
    let Some(old) = old else { return Ok(words) };
    ensure!(
        old.name != "train" || !rest.is_empty(),
        "models need no preparation here: a node loads one with its first batch. To train one: {}",
        old.now
    );
    Ok((old.translate)(rest))
}

/// The old names, for the help.
pub(super) fn told() -> impl Iterator<Item = (&'static str, String)> {
    OLD.iter().filter(|old| old.name != "infer").map(|old| (old.name, format!("The same as {}", old.now)))
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    OLD.iter().map(|old| old.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::COMMANDS;

    fn todays_line(line: &str) -> String {
        todays(line.split_whitespace().map(str::to_owned).collect()).expect(line).join(" ")
    }

    #[test]
    fn old_lines_become_todays() {
        for (old, today) in [
            ("C1", "job-stats"),
            ("c3 resnet.onnx 4", "set-batch-size resnet.onnx 4"),
            ("infer lenet lenet.png 5", "infer lenet lenet.*.png --batch-size 5"),
            ("infer m.onnx pictures/* --count 3", "infer m.onnx pictures/* --count 3"),
            ("infer m.onnx rows.csv 5", "infer m.onnx rows.csv --batch-size 5"),
            ("submit-job m.onnx pictures/*.jpg 2", "infer m.onnx pictures/*.jpg --batch-size 2"),
            ("upload_data lenet.png 20", "put-all lenet.*.png --count 20"),
            ("list_mem", "members"),
            ("train letters 3 5 24 0.0001", "client letters 3 5 24 0.0001"),
            ("jobs --json", "jobs --json"),
        ] {
            assert_eq!(todays_line(old), today);
        }
        assert!(todays(vec!["train".to_owned()]).is_err());
    }

    #[test]
    fn what_they_become_is_in_the_table() {
        for old in OLD {
            let words = (old.translate)(&["a".to_owned(), "b".to_owned()]);
            assert!(COMMANDS.iter().any(|row| row.name == words[0]), "{}", old.name);
        }
    }
}
