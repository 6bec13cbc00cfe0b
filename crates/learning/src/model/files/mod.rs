//! Owns models as files: the table of formats, each of which holds all of a model and gives it back exactly.

pub(super) mod arrays;
pub(super) mod description;
mod flat;
mod npz;
mod onnx;
mod onnx_proto;
pub(crate) mod protobuf;
pub(super) mod safetensors;

use super::error::ModelError;
use super::form::Model;

/// A format of files.
pub struct Format {
    /// How names of its files end, without the dot.
    pub extension: &'static str,
    /// What it is good for, for people.
    pub about: &'static str,
    write: fn(&Model) -> Result<Vec<u8>, ModelError>,
    read: fn(&[u8]) -> Result<Model, ModelError>,
}

/// All formats. To add one, write its file and add its row.
pub const FORMATS: &[Format] = &[safetensors::FORMAT, onnx::FORMAT, npz::FORMAT];

/// The format of this extension (`onnx`, in either case, with its dot or without).
///
/// # Errors
/// There is none; says which there are.
pub fn find(extension: &str) -> Result<&'static Format, ModelError> {
    let wanted = extension.strip_prefix('.').unwrap_or(extension);
    FORMATS.iter().find(|format| format.extension.eq_ignore_ascii_case(wanted)).ok_or_else(|| {
        let found = if wanted.is_empty() { "has no ending".to_owned() } else { format!("ends in .{wanted}") };
        ModelError::Format(format!("a model file's name must end in {}; this one {found}", known_extensions()))
    })
}

/// The extensions that there are, for messages: `.a, .b or .c`.
pub fn known_extensions() -> String {
    let all: Vec<String> = FORMATS.iter().map(|format| format!(".{}", format.extension)).collect();
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => all.concat(),
    }
}

/// The bytes of a file with this model; the same model gives the same bytes.
///
/// # Errors
/// There is no such format, the model's parts do not fit together, or the format cannot hold it.
pub fn write(model: &Model, extension: &str) -> Result<Vec<u8>, ModelError> {
    let format = find(extension)?;
    model.check()?;
    // What cannot be read back must not be written.
    let (length, most) = (description::write(model, true).len(), description::MAX_TEXT);
    if length > most {
        return Err(ModelError::Format(format!(
            "the names of the classes, notes and scaling take {length} bytes; a file holds at most {most}"
        )));
    }
    (format.write)(model)
}

/// Reads the bytes of a file.
///
/// # Errors
/// There is no such format, or the bytes are no model in it: names what is wrong with them.
pub fn read(bytes: &[u8], extension: &str) -> Result<Model, ModelError> {
    (find(extension)?.read)(bytes)
}

#[cfg(test)]
mod tests;
