//! Owns the NPZ format: a zip of NumPy arrays, and beside them the description as `roundtable.json`.
//!
//! Arrays are named as in safetensors. Nothing is compressed, and no time is told: the same model is the same bytes.
//! NumPy's arrays are read and written here: of the form's many variants there is one that NumPy itself writes.

use super::super::error::ModelError;
use super::super::form::{Form, Model};
use super::super::shape::MAX_LAYERS;
use super::arrays::{self, Array, Arrays, Element, wrong};
use super::{Format, description};
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveWriter};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

/// The row of [`super::FORMATS`].
pub(super) const FORMAT: Format =
    Format { extension: "npz", about: "opens in NumPy: arrays as PyTorch's nn.Linear has them", write, read };

/// The member that holds the description; `numpy.load` gives it as bytes.
const DESCRIPTION: &str = "roundtable.json";
/// The most members that are read: a weight and a bias per layer, the scaling, the description.
const MAX_MEMBERS: usize = 2 * MAX_LAYERS + 3;
/// How an array's bytes begin, with the version of its form.
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

fn write(model: &Model) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    let mut add = |name: &str, parts: [&[u8]; 2]| -> Result<(), rawzip::Error> {
        let (mut entry, config) = archive.new_file(name).compression_method(CompressionMethod::STORE).start()?;
        let mut writer = config.wrap(&mut entry);
        parts.iter().try_for_each(|part| writer.write_all(part)).map_err(rawzip::Error::from)?;
        let (_, descriptor) = writer.finish()?;
        entry.finish(descriptor).map(|_| ())
    };
    let text = description::write(model, false);
    let mut all = || {
        add(DESCRIPTION, [text.as_bytes(), b""])?;
        for (name, array) in arrays::of_model(model) {
            add(&format!("{name}.npy"), [&array_header(&array), &array.bytes])?;
        }
        Ok(())
    };
    all()
        .and_then(|()| archive.finish().map(|_| ()))
        .map_err(|e| ModelError::Format(format!("cannot zip: {e}")))?;
    Ok(bytes)
}

fn read(bytes: &[u8]) -> Result<Model, ModelError> {
    let mut members = members(bytes)?;
    let (mut form, notes) = match members.remove(DESCRIPTION) {
        Some(text) => {
            let text = std::str::from_utf8(text).map_err(|e| wrong(format!("`{DESCRIPTION}`: {e}")))?;
            description::read(text)?
        }
        None => (Form::default(), BTreeMap::new()),
    };
    let mut arrays = Arrays::new();
    for (member, bytes) in members {
        let Some(name) = member.strip_suffix(".npy") else {
            return Err(wrong(format!("it has a member `{member}`, which is no array")));
        };
        arrays.insert(name.to_owned(), array(name, bytes)?);
    }
    arrays::move_scaling(&mut arrays, &mut form)?;
    description::join(arrays::to_weights(&arrays)?, form, notes)
}

/// The members of a zip by name, checked against their checksums.
fn members(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, ModelError> {
    let not_zip = |e: rawzip::Error| wrong(format!("not NPZ: {e}"));
    let archive = ZipArchive::from_slice(bytes).map_err(not_zip)?;
    let mut members = BTreeMap::new();
    let mut entries = archive.entries();
    // Members that share their bytes are none that we have written, and would take more memory than the file.
    let mut left = bytes.len();
    while let Some(entry) = entries.next_entry().map_err(not_zip)? {
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        if members.len() == MAX_MEMBERS {
            return Err(wrong(format!("more than {MAX_MEMBERS} members in the zip")));
        }
        if entry.compression_method() != CompressionMethod::STORE || entry.flags().is_encrypted() {
            return Err(wrong(format!("`{name}` is compressed; write it with numpy.savez, not savez_compressed")));
        }
        let local = archive.get_entry(entry.wayfinder()).map_err(not_zip)?;
        let (start, end) = local.compressed_data_range();
        let place = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let data = place.and_then(|(start, end)| bytes.get(start..end));
        let data = data.ok_or_else(|| wrong(format!("`{name}` ends beyond the end")))?;
        let rest = left.checked_sub(data.len());
        left = rest.ok_or_else(|| wrong("members of the zip overlap"))?;
        if rawzip::crc32(data) != entry.crc32() || data.len() as u64 != entry.uncompressed_size_hint() {
            return Err(wrong(format!("`{name}` is damaged: its checksum or length is wrong")));
        }
        if members.insert(name.clone(), data).is_some() {
            return Err(wrong(format!("there are two `{name}`")));
        }
    }
    Ok(members)
}

/// What stands before an array's elements.
fn array_header(array: &Array<'_>) -> Vec<u8> {
    let kind = match array.element {
        Element::U8 => "|u1",
        Element::U16 => "<u2",
        Element::U32 => "<u4",
        Element::F32 => "<f4",
        Element::F64 => "<f8",
    };
    let sizes: Vec<String> = array.shape.iter().map(usize::to_string).collect();
    // A tuple of one has a comma.
    let shape = if let [one] = &sizes[..] { format!("{one},") } else { sizes.join(", ") };
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Elements begin at a multiple of 64, after the magic, two bytes of length, and a line's end.
    let before = MAGIC.len() + 2 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', before.next_multiple_of(64) - before));
    text.push('\n');
    [MAGIC, &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

/// Reads an array.
fn array<'a>(name: &str, bytes: &'a [u8]) -> Result<Array<'a>, ModelError> {
    let unknown = || wrong(format!("`{name}` is not an array of <f4 or <f8 in C order, as numpy.save writes it"));
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(unknown)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(unknown)?;
    let (header, elements) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or_else(unknown)?;
    let (element, shape) = std::str::from_utf8(header).ok().and_then(shape).ok_or_else(unknown)?;
    let expected = shape.iter().try_fold(element.size(), |length, &size| length.checked_mul(size));
    if expected != Some(elements.len()) {
        let found = elements.len();
        return Err(wrong(format!("`{name}` of shape {shape:?} has {found} bytes of {element:?} elements")));
    }
    Ok(Array { element, shape, bytes: Cow::Borrowed(elements) })
}

/// Element type and shape, from the text that NumPy writes.
fn shape(header: &str) -> Option<(Element, Vec<usize>)> {
    let (kind, rest) = header.strip_prefix("{'descr': '")?.split_once("', 'fortran_order': False, 'shape': (")?;
    let element = match kind {
        "<f4" => Element::F32,
        "<f8" => Element::F64,
        _ => return None,
    };
    let (sizes, rest) = rest.split_once(')')?;
    let sizes = sizes.strip_suffix(',').unwrap_or(sizes);
    let shape = sizes.split(", ").map(|size| size.parse().ok()).collect::<Option<_>>()?;
    (rest.trim_end() == ", }").then_some((element, shape))
}

#[cfg(test)]
mod tests {
    use super::super::tests::small;
    use super::*;

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut archive = ZipArchiveWriter::new(&mut bytes);
        for (name, data) in members {
            let (mut entry, config) = archive.new_file(name).start().unwrap();
            let mut writer = config.wrap(&mut entry);
            writer.write_all(data).unwrap();
            let (_, descriptor) = writer.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        bytes
    }

    fn refusal(members: &[(&str, &[u8])]) -> String {
        read(&zip(members)).unwrap_err().to_string()
    }

    /// The members of a good file.
    fn good() -> Vec<(String, Vec<u8>)> {
        members(&write(&small()).unwrap()).unwrap().into_iter().map(|(name, data)| (name, data.to_vec())).collect()
    }

    #[test]
    fn the_bytes_are_those_that_they_were() {
        // Recorded from this implementation; a new version of the zip's writer might change them.
        let digest = crate::types::Digest::of(&write(&small()).unwrap());
        assert_eq!(digest.short(), "361d4fa4");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refusal(&[]).contains("0 tensors"));
        assert!(refusal(&[("a.txt", b"")]).contains("member `a.txt`, which is no array"));
        assert!(refusal(&[("a.npy", b"")]).contains("`a` is not an array"));
        assert!(refusal(&[("a.npy", b"x"), ("a.npy", b"x")]).contains("two `a.npy`"));
        assert!(refusal(&[(DESCRIPTION, b"\xff")]).contains("utf-8"));
        let many: Vec<String> = (0..200).map(|i| format!("{i}.npy")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
        assert!(refusal(&many).contains("more than 131 members"));
        let with = |header: &str| {
            let mut bytes = [MAGIC, &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
            bytes.extend([0; 16]);
            refusal(&[("a.npy", &bytes)])
        };
        let header = |kind, order, shape| {
            format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({shape}), }}\n")
        };
        assert!(with(&header("<f4", "False", "2, 2")).contains("1 tensors"));
        assert!(with(&header("<f4", "False", "3,")).contains("`a` of shape [3] has 16 bytes of F32"));
        let vast = format!("{0}, {0}", usize::MAX);
        assert!(with(&header("<f4", "False", &vast)).contains("has 16 bytes"));
        for (kind, order, shape) in
            [("<i4", "False", "4,"), ("<f4", "True", "4,"), ("<f4", "False", "x,"), ("<f4", "False", "-4,")]
        {
            assert!(
                with(&header(kind, order, shape)).contains("as numpy.save writes it"),
                "{kind} {order} {shape}"
            );
        }
    }

    #[test]
    fn the_description_may_be_missing() {
        let members = good();
        let rest: Vec<(&str, &[u8])> = members.iter().map(|(name, data)| (name.as_str(), &data[..])).collect();
        let model = read(&zip(&rest[..])).unwrap();
        assert_eq!(model, small());
        let rest: Vec<_> = rest.into_iter().filter(|(name, _)| *name != DESCRIPTION).collect();
        let bare = read(&zip(&rest)).unwrap();
        assert_eq!((&bare.weights, &bare.form.inputs), (&model.weights, &model.form.inputs));
        assert_eq!(bare.form, Form { inputs: model.form.inputs.clone(), ..Form::default() });
    }

    #[test]
    fn damage_is_seen() {
        let mut bytes = write(&small()).unwrap();
        let place = bytes.windows(8).position(|window| window == b"{\"activa").unwrap();
        bytes[place + 2] ^= 1;
        assert!(read(&bytes).unwrap_err().to_string().contains("`roundtable.json` is damaged"));
        assert!(read(b"").unwrap_err().to_string().contains("not NPZ"));
    }
}
