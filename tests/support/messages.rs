//! Owns messages of Thrift's binary protocol made by hand, so that they can be wrong in every way.

pub const BOOL: u8 = 2;
pub const I32: u8 = 8;
pub const I64: u8 = 10;
pub const STRING: u8 = 11;
pub const STRUCT: u8 = 12;
pub const MAP: u8 = 13;
pub const SET: u8 = 14;
pub const LIST: u8 = 15;

/// A call of `method`, with `arguments` (a struct, with its stop byte) as they are.
pub fn call(method: &str, arguments: &[u8]) -> Vec<u8> {
    let head: [&[u8]; 4] = [&[0x80, 1, 0, 1], &length(method.len()), method.as_bytes(), &7_i32.to_be_bytes()];
    [&head.concat(), arguments].concat()
}

/// `missing_blobs`, which all our servers have, with these digests.
pub fn missing_blobs(digests: &[&str]) -> Vec<u8> {
    let mut value = list(STRING, digests.len() as i32);
    for digest in digests {
        value.extend(string(digest));
    }
    call("missing_blobs", &arguments(LIST, &value))
}

/// A struct with one field, number 1.
pub fn arguments(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, 0, 1], value, &[0]].concat()
}

pub fn list(kind: u8, count: i32) -> Vec<u8> {
    [&[kind][..], &count.to_be_bytes()].concat()
}

pub fn map(key: u8, value: u8, count: i32) -> Vec<u8> {
    [&[key, value][..], &count.to_be_bytes()].concat()
}

pub fn string(text: &str) -> Vec<u8> {
    [&length(text.len()), text.as_bytes()].concat()
}

fn length(count: usize) -> [u8; 4] {
    (count as i32).to_be_bytes()
}
