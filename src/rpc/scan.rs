//! Owns finding where a message ends: it is read whole, measured on the way, and only then decoded.

use std::io::{self, BufRead};

use super::message::{Head, Message, Pieces};
use super::{FREE_WEIGHT, Limits};

/// What a length, a count or a 32-bit number weighs beside its bytes: more than any value of ours takes when
/// decoded (a string of one byte: 24 of `String`, 32 of heap).
const VALUE_WEIGHT: usize = 64;

/// The longest name of a method.
const MAX_NAME: usize = 1024;

/// Why no message was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("the message ended early or its sender failed: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("{what} of {claimed} is over the limit of {limit}")]
    TooLarge { what: &'static str, claimed: usize, limit: usize },
    #[error("the server is reading as much as it can hold; try again later")]
    OverBudget,
    #[error("the connection was given up for another one")]
    Displaced,
}

/// Reads one message into `pieces`; `head` is filled in even if what follows it is refused. `charge` is asked
/// before the weight passes 64 KiB, and every 64 KiB from there on.
pub(super) fn read_message(
    input: &mut impl BufRead,
    limits: &Limits,
    pieces: Pieces,
    head: &mut Head,
    charge: &mut dyn FnMut(usize) -> Result<(), ScanError>,
) -> Result<Message, ScanError> {
    let mut scan = Scan { input, limits, charge, pieces, length: 0, words: 1, values: 0, granted: FREE_WEIGHT };
    *head = scan.head()?;
    let header = scan.length;
    scan.value(kind::STRUCT, 0)?;
    let Scan { pieces, length, words, .. } = scan;
    Ok(Message::new(pieces, length, header, words))
}

/// The binary protocol's numbers for types.
mod kind {
    pub const STOP: u8 = 0;
    pub const STRING: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const MAP: u8 = 13;
    pub const SET: u8 = 14;
    pub const LIST: u8 = 15;
    pub const UUID: u8 = 16;

    /// The bytes of a value, if all of this type have the same.
    pub fn size(kind: u8) -> Option<usize> {
        match kind {
            2 | 3 => Some(1),
            6 => Some(2),
            8 => Some(4),
            4 | 10 => Some(8),
            UUID => Some(16),
            _ => None,
        }
    }
}

struct Scan<'a, R> {
    input: &'a mut R,
    limits: &'a Limits,
    charge: &'a mut dyn FnMut(usize) -> Result<(), ScanError>,
    pieces: Pieces,
    length: usize,
    /// Four-byte reads that decoding takes.
    words: usize,
    /// What weighs `VALUE_WEIGHT` beside its bytes.
    values: usize,
    /// The weight up to which `charge` has agreed.
    granted: usize,
}

impl<R: BufRead> Scan<'_, R> {
    fn head(&mut self) -> Result<Head, ScanError> {
        let [a, b, _, message_type] = self.array()?;
        if [a, b] != [0x80, 0x01] {
            return Err(ScanError::Malformed("it does not start as a message of Thrift's binary protocol does"));
        }
        if !(1..=4).contains(&message_type) {
            return Err(ScanError::Malformed("there is no such type of message"));
        }
        let mut name = vec![0; self.length("a name", MAX_NAME)?];
        self.fill(&mut name)?;
        self.words += usize::from(name.len() == 4);
        let name = String::from_utf8_lossy(&name).into_owned();
        self.words += 1;
        let sequence = i32::from_be_bytes(self.array()?);
        Ok(Head { name, sequence })
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<(), ScanError> {
        if let Some(size) = kind::size(kind) {
            return self.numbers(size, 1);
        }
        if depth > self.limits.max_depth {
            let limit = self.limits.max_depth;
            return Err(ScanError::TooLarge { what: "a nesting", claimed: depth, limit });
        }
        match kind {
            kind::STRING => self.string(self.limits.max_string),
            kind::STRUCT => loop {
                let [field] = self.array()?;
                if field == kind::STOP {
                    return Ok(());
                }
                self.take(2)?;
                self.value(field, depth + 1)?;
            },
            kind::LIST | kind::SET => {
                let [element] = self.array()?;
                self.elements(&[element], depth + 1)
            }
            kind::MAP => {
                let pair: [u8; 2] = self.array()?;
                self.elements(&pair, depth + 1)
            }
            _ => Err(ScanError::Malformed("there is no such type of value")),
        }
    }

    /// A count, and that many times a value of each of `kinds`.
    fn elements(&mut self, kinds: &[u8], depth: usize) -> Result<(), ScanError> {
        let count = self.length("a container", self.limits.max_elements)?;
        if let &[kind] = kinds
            && let Some(size) = kind::size(kind)
        {
            return self.numbers(size, count);
        }
        for _ in 0..count {
            for kind in kinds {
                self.value(*kind, depth)?;
            }
        }
        Ok(())
    }

    fn numbers(&mut self, size: usize, count: usize) -> Result<(), ScanError> {
        if size == 4 {
            self.words += count;
            self.values += count;
        }
        self.take(size.saturating_mul(count))
    }

    fn string(&mut self, limit: usize) -> Result<(), ScanError> {
        let length = self.length("a string", limit)?;
        // Thrift skips a string in pieces of 256 bytes, of which the last may look like a number.
        self.words += usize::from(length % 256 == 4);
        self.take(length)
    }

    fn length(&mut self, what: &'static str, limit: usize) -> Result<usize, ScanError> {
        self.words += 1;
        self.values += 1;
        let claimed = i32::from_be_bytes(self.array()?);
        let claimed = usize::try_from(claimed).map_err(|_| ScanError::Malformed("a length is negative"))?;
        if claimed > limit {
            return Err(ScanError::TooLarge { what, claimed, limit });
        }
        Ok(claimed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ScanError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    /// Takes bytes and copies them to `out`.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), ScanError> {
        let mut filled = 0;
        self.each(out.len(), |bytes| {
            out[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        })
    }

    fn take(&mut self, count: usize) -> Result<(), ScanError> {
        self.each(count, |_| ())
    }

    /// Takes `count` bytes, and shows them to `see` as they come.
    fn each(&mut self, mut count: usize, mut see: impl FnMut(&[u8])) -> Result<(), ScanError> {
        let claimed = self.length.saturating_add(count);
        if claimed > self.limits.max_message {
            return Err(ScanError::TooLarge { what: "a message", claimed, limit: self.limits.max_message });
        }
        while count > 0 {
            let ready = self.input.fill_buf()?;
            if ready.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let taken = ready.len().min(count);
            self.pieces.push(&ready[..taken]);
            see(&ready[..taken]);
            self.input.consume(taken);
            self.length += taken;
            count -= taken;
            let weight = self.length + self.values * VALUE_WEIGHT;
            if weight > self.granted {
                // In steps, since a charge takes a lock.
                let step = weight.next_multiple_of(FREE_WEIGHT);
                (self.charge)(step)?;
                self.granted = step;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Progress;
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;
    use thrift::protocol::{TBinaryInputProtocol, TInputProtocol, TType};

    /// A value's type and bytes.
    fn value() -> impl Strategy<Value = (u8, Vec<u8>)> {
        let number = prop::sample::select(vec![(2, 1), (3, 1), (6, 2), (8, 4), (10, 8), (4, 8), (16, 16)]);
        let number = number.prop_map(|(kind, size)| (kind, vec![0x55; size]));
        let string =
            (0..600_usize).prop_map(|n| (kind::STRING, [&(n as u32).to_be_bytes()[..], &vec![b'x'; n]].concat()));
        prop_oneof![number, string].prop_recursive(4, 40, 6, |inner| {
            let fields = prop::collection::vec(inner.clone(), 0..5).prop_map(|fields| {
                let fields = fields.iter().flat_map(|(kind, bytes)| [&[*kind, 0, 1], &bytes[..]].concat());
                (kind::STRUCT, fields.chain([kind::STOP]).collect())
            });
            let list = (inner.clone(), 0..4_u32).prop_map(|((kind, bytes), n)| {
                (kind::LIST, [&[kind], &n.to_be_bytes()[..], &bytes.repeat(n as usize)].concat())
            });
            let map = (inner.clone(), inner, 0..4_u32).prop_map(|((key, a), (value, b), n)| {
                let pairs = [a, b].concat().repeat(n as usize);
                (kind::MAP, [&[key, value], &n.to_be_bytes()[..], &pairs].concat())
            });
            prop_oneof![fields, list, map]
        })
    }

    fn message((kind, value): (u8, Vec<u8>)) -> Vec<u8> {
        [&b"\x80\x01\x00\x01\x00\x00\x00\x04name\x00\x00\x00\x09"[..], &[kind, 0, 1], &value[..], &[0]].concat()
    }

    fn scan(mut bytes: &[u8]) -> Result<(Message, Head, usize), ScanError> {
        let mut head = Head::default();
        let message = read_message(&mut bytes, &Limits::default(), Pieces::default(), &mut head, &mut |_| Ok(()))?;
        Ok((message, head, bytes.len()))
    }

    proptest! {
        #[test]
        fn a_message_ends_where_thrift_says(value in value(), cut in any::<prop::sample::Index>()) {
            let bytes = message(value);
            let (mut message, head, rest) = scan(&[&bytes[..], b"next"].concat()).unwrap();
            prop_assert_eq!(rest, 4);
            prop_assert_eq!(head, Head { name: "name".to_owned(), sequence: 9 });
            let mut thrift = TBinaryInputProtocol::new(&mut message, true);
            thrift.read_message_begin().unwrap();
            prop_assert_eq!(thrift.transport.progress(), Progress::Header);
            thrift.skip(TType::Struct).unwrap();
            prop_assert_eq!(message.progress(), Progress::Whole);
            prop_assert!(matches!(scan(&bytes[..cut.index(bytes.len())]), Err(ScanError::Io(_))));
        }
    }

    #[test]
    fn large_messages_come_out_as_they_went_in() {
        let text: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let value = [&(text.len() as u32).to_be_bytes()[..], &text].concat();
        let bytes = message((kind::STRING, value));
        let (mut message, ..) = scan(&bytes).unwrap();
        let mut out = vec![0; bytes.len()];
        message.read_exact(&mut out).unwrap();
        assert!(out == bytes && message.is_spent());
    }

    #[test]
    fn numbers_read_as_strings_run_out_of_words() {
        let value = [&[10], &1000_u32.to_be_bytes()[..], &[0; 8000]].concat();
        let (mut message, ..) = scan(&message((kind::LIST, value))).unwrap();
        let mut thrift = TBinaryInputProtocol::new(&mut message, true);
        thrift.read_message_begin().unwrap();
        thrift.read_field_begin().unwrap();
        thrift.read_list_begin().unwrap();
        assert!(thrift.read_string().is_err());
        assert_eq!(message.progress(), Progress::Misread);
    }

    #[test]
    fn the_weight_counts_values() {
        let strings = |n: u32| [&[kind::STRING], &n.to_be_bytes()[..], &vec![0; 4 * n as usize]].concat();
        let mut weights = Vec::new();
        let bytes = message((kind::LIST, strings(10_000)));
        read_message(
            &mut &bytes[..],
            &Limits::default(),
            Pieces::default(),
            &mut Head::default(),
            &mut |weight| {
                weights.push(weight);
                Ok(())
            },
        )
        .unwrap();
        assert!(weights.is_sorted() && weights.len() > 8, "{weights:?}");
        assert!(*weights.last().unwrap() >= bytes.len() + 10_000 * VALUE_WEIGHT);
    }
}
