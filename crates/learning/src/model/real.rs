//! Owns the two kinds of numbers a model can be made of: `f32` for our own calls, `f64` for the original's.

use super::kernels::Exponential;
use super::kernels::Kernels;

/// `f32` or `f64`. Sealed.
pub trait Real:
    Kernels
    + Exponential
    + Copy
    + Default
    + PartialOrd
    + From<f32>
    + std::ops::Sub<Output = Self>
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// The nearest number to `value`; infinite if that is beyond the range.
    fn from_f64(value: f64) -> Self;
    /// The same number; nothing is lost.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    #[inline(always)]
    fn from_f64(value: f64) -> f32 {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn from_f64(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}
