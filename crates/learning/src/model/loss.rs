//! Owns the loss: minus the logarithm of a product of probabilities, with one logarithm for all of them.

/// A product of many positive factors, kept as `mantissa * 2^exponent`, so that it cannot underflow.
///
/// Its logarithm is computed here and not by the system, whose last bits differ from machine to machine: the
/// early stop looks at it, and the same input must stop at the same epoch everywhere.
#[derive(Clone, Copy, Debug)]
pub struct LogProduct {
    mantissa: f64,
    exponent: i64,
}

impl LogProduct {
    /// The empty product, 1.
    pub(super) const ONE: LogProduct = LogProduct { mantissa: 1.0, exponent: 0 };

    /// Multiplies by a factor in `[1e-6, 2^30]`. After at most 32 of them, `settle` must be called.
    #[inline(always)]
    pub(super) fn multiply(&mut self, factor: f64) {
        self.mantissa *= factor;
    }

    /// Brings the mantissa back to `[1, 2)`. NaN stays NaN.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        let bits = self.mantissa.to_bits();
        let field = (bits >> 52) as i64;
        // Zero, subnormal, infinite, negative and NaN cannot come of the factors allowed; they stay as they are.
        if (1..=2046).contains(&field) {
            self.exponent += field - 1023;
            self.mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
        }
    }

    /// The natural logarithm, within a few units in the last place.
    pub(super) fn ln(mut self) -> f64 {
        self.settle();
        if !(1.0..2.0).contains(&self.mantissa) {
            return f64::NAN;
        }
        let (mut m, mut exponent) = (self.mantissa, self.exponent as f64);
        if m > std::f64::consts::SQRT_2 {
            (m, exponent) = (m / 2.0, exponent + 1.0);
        }
        // ln m = 2 artanh s, with |s| <= 0.172: the terms fall by 0.03 each.
        let s = (m - 1.0) / (m + 1.0);
        let series = (0..12).rev().fold(0.0, |sum, i| sum * (s * s) + 1.0 / f64::from(2 * i + 1));
        exponent * std::f64::consts::LN_2 + 2.0 * s * series
    }
}

/// What is counted of the rows of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// The product over the rows of the sums of `exp(logit - greatest logit)`.
    sums: LogProduct,
    /// The sum over the rows of how far the label's logit is below the greatest.
    margins: f64,
    /// Rows whose label's logit is not the greatest.
    wrong: u64,
    /// The sum over the rows of the squared error.
    squares: f64,
}

impl Tally {
    /// Of no rows.
    pub(super) const NONE: Tally = Tally { sums: LogProduct::ONE, margins: 0.0, wrong: 0, squares: 0.0 };

    /// Counts a row with a class; `settle` must be called after at most 32.
    #[inline(always)]
    pub(super) fn class(&mut self, sum: f64, margin: f64) {
        self.sums.multiply(sum);
        self.margins += margin;
        self.wrong += u64::from(margin > 0.0);
    }

    /// Brings the product back into range.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        self.sums.settle();
    }

    /// Counts a row with a value.
    #[inline(always)]
    pub(super) fn value(&mut self, missing: f64) {
        self.squares += missing * missing;
    }

    /// The mean over `rows` rows of the cross-entropy or half the squared error.
    pub(super) fn loss(self, rows: usize) -> f64 {
        (self.sums.ln() + self.margins + self.squares / 2.0) / rows as f64
    }

    /// The share of rows given a wrong class, and the root of the mean squared error.
    pub(super) fn errors(self, rows: usize) -> (f64, f64) {
        (self.wrong as f64 / rows as f64, (self.squares / rows as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_of_a_product_is_the_sum_of_logarithms() {
        let mut product = LogProduct::ONE;
        let mut sum = 0.0;
        for i in 0..3200 {
            let factor = if i < 64 { 1e-6 } else { f64::from(i) / 3200.0 + 1e-6 };
            product.multiply(factor);
            sum += factor.ln();
            if i % 32 == 31 {
                product.settle();
            }
        }
        assert!((product.ln() - sum).abs() < 1e-9, "{} is not {sum}", product.ln());
        assert_eq!(LogProduct::ONE.ln(), 0.0);
    }

    #[test]
    fn not_a_number_stays_so() {
        let mut product = LogProduct::ONE;
        product.multiply(f64::NAN);
        product.settle();
        product.multiply(0.5);
        assert!(product.ln().is_nan());
    }
}
