//! Owns what a forest is grown by: its settings, with scikit-learn's names, meanings and defaults.

use crate::model::ModelError;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The most trees that a forest may have.
pub const MAX_TREES: u32 = 100_000;

/// How a forest is grown; names, meanings and defaults are scikit-learn's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForestSettings {
    /// How many trees there are, from 1 to [`MAX_TREES`].
    pub n_estimators: u32,
    /// How many splits there are at most between the root and a leaf, 1 or more; none: as many as it takes.
    pub max_depth: Option<u32>,
    /// Branches that lower the impurity by no more than this for each leaf more are cut off; 0 or more, 0 cuts none.
    pub ccp_alpha: f64,
    /// How many features are looked at for each split.
    pub max_features: MaxFeatures,
    /// Nodes of fewer rows are leaves; 2 or more.
    pub min_samples_split: u32,
    /// No split leaves fewer rows on either side; 1 or more.
    pub min_samples_leaf: u32,
    /// Whether each tree learns from as many rows as there are, drawn with replacement; if not, from all rows.
    pub bootstrap: bool,
}

impl Default for ForestSettings {
    fn default() -> Self {
        Self {
            n_estimators: 100,
            max_depth: None,
            ccp_alpha: 0.0,
            max_features: MaxFeatures::Sqrt,
            min_samples_split: 2,
            min_samples_leaf: 1,
            bootstrap: true,
        }
    }
}

impl ForestSettings {
    /// Fails unless all settings are in range.
    ///
    /// # Errors
    /// [`ModelError::Setting`] names the first that is not, its value and what is allowed.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |field, value, range| Err(ModelError::Setting { field, value, range });
        if !(1..=MAX_TREES).contains(&self.n_estimators) {
            return wrong("n_estimators", f64::from(self.n_estimators), "from 1 to 100000");
        }
        if self.max_depth == Some(0) {
            return wrong("max_depth", 0.0, "1 or more, or none for as deep as it takes");
        }
        if !(self.ccp_alpha.is_finite() && self.ccp_alpha >= 0.0) {
            return wrong("ccp_alpha", self.ccp_alpha, "a finite number, 0 or more");
        }
        if self.min_samples_split < 2 {
            return wrong("min_samples_split", f64::from(self.min_samples_split), "2 or more");
        }
        if self.min_samples_leaf < 1 {
            return wrong("min_samples_leaf", f64::from(self.min_samples_leaf), "1 or more");
        }
        match self.max_features {
            MaxFeatures::Count(0) => wrong("max_features", 0.0, "a count of 1 or more"),
            MaxFeatures::Share(share) if !(share > 0.0 && share <= 1.0) => {
                wrong("max_features", share, "a share above 0 and at most 1, or a whole number")
            }
            _ => Ok(()),
        }
    }
}

/// How many features are looked at for each split: `"sqrt"`, `"log2"`, `"all"`, a whole number or a share such as 0.5.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum MaxFeatures {
    /// The square root of their number, rounded down.
    #[default]
    Sqrt,
    /// The logarithm to base 2 of their number, rounded down.
    Log2,
    /// All of them.
    All,
    /// So many, or all if there are fewer.
    Count(u32),
    /// This share of them, above 0 and at most 1, rounded down.
    Share(f64),
}

impl MaxFeatures {
    /// How many of `columns` features that is: at least one, at most all.
    pub fn of(self, columns: usize) -> usize {
        let some = match self {
            Self::Sqrt => columns.isqrt(),
            Self::Log2 => columns.checked_ilog2().unwrap_or(0) as usize,
            Self::All => columns,
            Self::Count(count) => count as usize,
            Self::Share(share) => (share * columns as f64) as usize,
        };
        some.clamp(1, columns.max(1))
    }
}

impl fmt::Display for MaxFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqrt => f.write_str("sqrt"),
            Self::Log2 => f.write_str("log2"),
            Self::All => f.write_str("all"),
            Self::Count(count) => write!(f, "{count}"),
            // With a point even if it is 1: without it would be a count.
            Self::Share(share) => write!(f, "{share:?}"),
        }
    }
}

impl Serialize for MaxFeatures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Sqrt => serializer.serialize_str("sqrt"),
            Self::Log2 => serializer.serialize_str("log2"),
            Self::All => serializer.serialize_str("all"),
            Self::Count(count) => serializer.serialize_u32(count),
            Self::Share(share) => serializer.serialize_f64(share),
        }
    }
}

impl<'de> Deserialize<'de> for MaxFeatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = MaxFeatures;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#""sqrt", "log2", "all", a whole number of 1 or more, or a share above 0.0 and at most 1.0"#)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxFeatures, E> {
        match text {
            "sqrt" => Ok(MaxFeatures::Sqrt),
            "log2" => Ok(MaxFeatures::Log2),
            "all" => Ok(MaxFeatures::All),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<MaxFeatures, E> {
        let count = u32::try_from(count).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(count), &self))?;
        Ok(MaxFeatures::Count(count))
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<MaxFeatures, E> {
        let count = u32::try_from(count).map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self))?;
        Ok(MaxFeatures::Count(count))
    }

    fn visit_f64<E: de::Error>(self, share: f64) -> Result<MaxFeatures, E> {
        Ok(MaxFeatures::Share(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let good = ForestSettings::default();
        assert_eq!(good.check(), Ok(()));
        let says = |settings: ForestSettings| settings.check().unwrap_err().to_string();
        let with = |change: fn(&mut ForestSettings)| {
            let mut settings = ForestSettings::default();
            change(&mut settings);
            says(settings)
        };
        assert_eq!(with(|s| s.n_estimators = 0), "n_estimators is 0; it must be from 1 to 100000");
        assert!(with(|s| s.n_estimators = MAX_TREES + 1).starts_with("n_estimators is 100001;"));
        assert!(with(|s| s.max_depth = Some(0)).starts_with("max_depth is 0;"));
        assert!(with(|s| s.ccp_alpha = -0.5).starts_with("ccp_alpha is -0.5;"));
        assert!(with(|s| s.ccp_alpha = f64::NAN).starts_with("ccp_alpha is NaN;"));
        assert_eq!(with(|s| s.min_samples_split = 1), "min_samples_split is 1; it must be 2 or more");
        assert_eq!(with(|s| s.min_samples_leaf = 0), "min_samples_leaf is 0; it must be 1 or more");
        assert!(with(|s| s.max_features = MaxFeatures::Count(0)).starts_with("max_features is 0;"));
        assert!(with(|s| s.max_features = MaxFeatures::Share(0.0)).starts_with("max_features is 0;"));
        assert!(with(|s| s.max_features = MaxFeatures::Share(1.5)).starts_with("max_features is 1.5;"));
        assert!(with(|s| s.max_features = MaxFeatures::Share(f64::NAN)).starts_with("max_features is NaN;"));
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        for (text, features) in [
            ("\"sqrt\"", MaxFeatures::Sqrt),
            ("\"log2\"", MaxFeatures::Log2),
            ("\"all\"", MaxFeatures::All),
            ("1", MaxFeatures::Count(1)),
            ("1.0", MaxFeatures::Share(1.0)),
            ("0.25", MaxFeatures::Share(0.25)),
        ] {
            assert_eq!(serde_json::from_str::<MaxFeatures>(text).unwrap(), features);
            assert_eq!(serde_json::to_string(&features).unwrap(), text);
            assert_eq!(features.to_string(), text.trim_matches('"'));
        }
        for text in ["\"auto\"", "-1", "5000000000", "null", "[1]"] {
            assert!(serde_json::from_str::<MaxFeatures>(text).is_err(), "{text}");
        }
        let settings: ForestSettings = serde_json::from_str(r#"{"max_depth": 7, "max_features": 0.5}"#).unwrap();
        let expected = ForestSettings {
            max_depth: Some(7),
            max_features: MaxFeatures::Share(0.5),
            ..ForestSettings::default()
        };
        assert_eq!(settings, expected);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<ForestSettings>(&text).unwrap(), expected);
        assert!(serde_json::from_str::<ForestSettings>(r#"{"depth": 7}"#).is_err());
    }

    #[test]
    fn shares_are_rounded_as_scikit_learn_rounds_them() {
        let of = |features: MaxFeatures| [1, 2, 16, 54].map(|columns| features.of(columns));
        assert_eq!(of(MaxFeatures::Sqrt), [1, 1, 4, 7]);
        assert_eq!(of(MaxFeatures::Log2), [1, 1, 4, 5]);
        assert_eq!(of(MaxFeatures::All), [1, 2, 16, 54]);
        assert_eq!(of(MaxFeatures::Count(9)), [1, 2, 9, 9]);
        assert_eq!(of(MaxFeatures::Share(0.3)), [1, 1, 4, 16]);
    }
}
