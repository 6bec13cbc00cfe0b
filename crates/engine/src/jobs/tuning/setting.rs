//! Owns a setting: the value that a parameter of a model has in a trial.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The most characters of a setting that is a text.
const LONGEST: usize = 64;

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Whole(i64),
    /// Any other number; finite.
    Number(f64),
    /// A name.
    Text(String),
}

/// What a trial sets, by the names of the parameters.
pub type Configuration = BTreeMap<String, Setting>;

impl Setting {
    /// Reads what a command line says: a switch, a number, or else a name.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Ok(switch) = text.parse() {
            return Self::Switch(switch);
        }
        if let Ok(whole) = text.parse() {
            return Self::Whole(whole);
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(whole) => Some(*whole as f64),
            Self::Number(number) => Some(*number),
            Self::Switch(_) | Self::Text(_) => None,
        }
    }

    /// The whole number, if it is one.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(whole) => Some(*whole),
            // Formats that know one kind of number write 16 as 16.0.
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
            _ => None,
        }
    }

    /// Whether it can be told, and read again.
    pub(super) fn is_sane(&self) -> bool {
        match self {
            Self::Number(number) => number.is_finite(),
            Self::Text(text) => !text.is_empty() && text.chars().count() <= LONGEST && !text.contains('\n'),
            Self::Switch(_) | Self::Whole(_) => true,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(switch) => switch.fmt(f),
            Self::Whole(whole) => whole.fmt(f),
            Self::Number(number) if number.abs() >= 1e6 || (*number != 0.0 && number.abs() < 1e-3) => {
                write!(f, "{number:e}")
            }
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A configuration on one line: `eta=0.001 h=16`.
pub fn described(configuration: &Configuration) -> String {
    let one = |(name, setting): (&String, &Setting)| format!("{name}={setting}");
    configuration.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The name of a parameter as it is kept: that of a flag may have dashes.
pub fn name_of(written: &str) -> String {
    written.trim().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (text, setting) in [
            ("16", Setting::Whole(16)),
            (" -3 ", Setting::Whole(-3)),
            ("1e-4", Setting::Number(1e-4)),
            ("0.5", Setting::Number(0.5)),
            ("true", Setting::Switch(true)),
            ("none", Setting::Text("none".to_owned())),
            ("nan", Setting::Text("nan".to_owned())),
            ("256x128", Setting::Text("256x128".to_owned())),
        ] {
            assert_eq!(Setting::parse(text), setting);
            assert_eq!(Setting::parse(&setting.to_string()), setting, "{setting}");
            let json = serde_json::to_string(&setting).expect("it can be written");
            assert_eq!(serde_json::from_str::<Setting>(&json).expect("it can be read"), setting);
        }
        assert_eq!(Setting::Number(16.0).whole(), Some(16));
        assert_eq!(Setting::Number(16.5).whole(), None);
        assert!(!Setting::Number(f64::NAN).is_sane() && !Setting::Text(String::new()).is_sane());
    }
}
