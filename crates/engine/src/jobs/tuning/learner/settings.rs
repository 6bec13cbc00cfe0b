//! Owns the reading of settings: each of the kind and within the range that a model wants.

use super::super::setting::{Configuration, Setting};
use crate::jobs::JobError;
use std::ops::RangeInclusive;

/// The settings of a trial.
pub(in super::super) struct Settings<'a>(&'a Configuration);

impl<'a> Settings<'a> {
    pub(in super::super) fn of(configuration: &'a Configuration) -> Self {
        Self(configuration)
    }

    fn read<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Setting) -> Option<T>,
    ) -> Result<Option<T>, JobError> {
        let Some(setting) = self.0.get(name) else { return Ok(None) };
        let wrong = || JobError::Space {
            parameter: name.to_owned(),
            reason: format!("it is {setting}, but must be {wanted}"),
        };
        read(setting).map(Some).ok_or_else(wrong)
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, JobError> {
        self.read(name, "a number", Setting::number)
    }

    /// A whole number in a range.
    pub(super) fn whole(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, JobError> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(name, &wanted, |setting| {
            u32::try_from(setting.whole()?).ok().filter(|whole| range.contains(whole))
        })
    }

    /// The same, or the word `none`: `Some(None)`.
    pub(super) fn whole_or(
        &self,
        name: &str,
        none: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<Option<u32>>, JobError> {
        let wanted = format!("a whole number from {} to {}, or {none}", range.start(), range.end());
        self.read(name, &wanted, |setting| match setting {
            Setting::Text(text) if text == none => Some(None),
            _ => u32::try_from(setting.whole()?).ok().filter(|whole| range.contains(whole)).map(Some),
        })
    }

    /// `true` or `false`.
    pub(super) fn switch(&self, name: &str) -> Result<Option<bool>, JobError> {
        self.read(name, "true or false", |setting| match setting {
            Setting::Switch(switch) => Some(*switch),
            _ => None,
        })
    }

    /// One of these names.
    pub(super) fn one_of<T: Copy>(
        &self,
        name: &str,
        choices: &[(&'static str, T)],
    ) -> Result<Option<T>, JobError> {
        let names = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        self.read(name, &format!("one of {names}"), |setting| match setting {
            Setting::Text(text) => choices.iter().find(|(name, _)| name == text).map(|(_, choice)| *choice),
            _ => None,
        })
    }

    /// Anything that `read` can make something of.
    pub(super) fn any<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Setting) -> Option<T>,
    ) -> Result<Option<T>, JobError> {
        self.read(name, wanted, read)
    }
}
