//! Owns ids and units as newtypes, so that a job's number is never taken for a node's.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A compute node, by its place in the coordinator's list.
    NodeId(u32)
}
id! {
    /// A job, numbered from 1 in the order of submission.
    JobId(u64)
}
id! {
    /// A round of a job, numbered from 1.
    Round(u32)
}
id! {
    /// One sending of one task to one node: what an answer is matched to.
    AttemptId(u64)
}

id! {
    /// A term of leadership, numbered from 1: the coordinator of the highest leads.
    Epoch(u64)
}

/// A task of a job: one shard in one round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskId {
    /// The round it belongs to.
    pub round: Round,
    /// The shard's place in the job's list.
    pub shard: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {} shard {}", self.round, self.shard)
    }
}

/// A moment, as the time since some fixed start. The pure layers are told the time; they never ask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub Duration);

impl Time {
    /// The time passed since `earlier`, zero if that is later.
    pub fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(d))
    }
}

/// A SHA-256: the name of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        use sha2::Digest as _;
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The digest of the bytes that `write` hands over, one part after the other.
    pub fn of_written(write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Digest {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        write(&mut |part| hasher.update(part));
        Digest(hasher.finalize().into())
    }

    /// The digest of these bytes, one part after the other.
    pub fn of_parts<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Digest {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        parts.into_iter().for_each(|part| hasher.update(part));
        Digest(hasher.finalize().into())
    }

    /// Reads 64 hexadecimal digits; `None` if the text is anything else.
    pub fn parse(text: &str) -> Option<Digest> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16)?;
            let low = (pair[1] as char).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Digest(out))
    }

    /// The first eight digits, for messages.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).ok_or_else(|| serde::de::Error::custom("no SHA-256 in 64 hexadecimal digits"))
    }
}

/// Numbers in JSON that are read back as they were, also those that are not finite, which JSON does not know.
pub mod exact {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Other(String),
    }

    impl Number {
        fn value<E: serde::de::Error>(self) -> Result<f64, E> {
            match self {
                Number::Finite(value) => Ok(value),
                Number::Other(text) => text.parse().map_err(|_| E::custom(format!("'{text}' is no number"))),
            }
        }
    }

    /// A number, or the text `inf`, `-inf` or `NaN`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.collect_str(value) }
    }

    /// Reads what [`serialize`] writes.
    ///
    /// # Errors
    /// It is something else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Number::deserialize(deserializer)?.value()
    }

    /// The same for a number that may be missing.
    pub mod option {
        use super::Number;
        use serde::{Deserialize, Deserializer, Serializer};

        /// As [`super::serialize`].
        ///
        /// # Errors
        /// The serializer's.
        pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// As [`super::deserialize`].
        ///
        /// # Errors
        /// It is something else.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
            Option::<Number>::deserialize(deserializer)?.map(Number::value).transpose()
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_sha256_in_hex_and_reads_back() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::of_parts([&b"a"[..], b"", b"bc"]), digest);
        assert_eq!(Digest::parse(text), Some(digest));
        assert_eq!(Digest::parse(&text[1..]), None);
        assert_eq!(Digest::parse(&text.replace('b', "g")), None);
        assert_eq!(Digest::parse(&"é".repeat(32)), None);
    }

    #[test]
    fn numbers_that_json_does_not_know_are_read_back() {
        #[derive(Serialize, Deserialize)]
        struct Two {
            #[serde(with = "exact")]
            a: f64,
            #[serde(with = "exact::option")]
            b: Option<f64>,
        }
        for value in [0.1 + 0.2, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0, 5e-324] {
            for b in [None, Some(value)] {
                let text = serde_json::to_string(&Two { a: value, b }).unwrap();
                let back: Two = serde_json::from_str(&text).unwrap();
                assert_eq!(back.a.is_nan(), value.is_nan());
                assert!(value.is_nan() || back.a.to_bits() == value.to_bits(), "{text}");
                assert_eq!(back.b.is_some(), b.is_some());
            }
        }
        assert!(serde_json::from_str::<Two>(r#"{"a": "x", "b": null}"#).is_err());
    }

    #[test]
    fn time_since_a_later_moment_is_zero() {
        let early = Time(Duration::from_secs(1));
        let late = early + Duration::from_secs(2);
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
