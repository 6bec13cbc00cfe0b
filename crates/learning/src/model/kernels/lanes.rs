//! Owns the vocabulary kernels are written in: a vector of lanes, and the portable lanes made of plain arrays.
//!
//! Every operation rounds once, as IEEE 754 says, so a kernel written over [`Lanes`] gives the same bits on every
//! implementation. What could differ is the order of a sum over lanes; [`Lanes::sum`] fixes that order.

/// A processor's vectors of `T`. A value of the type is the proof that this processor has them.
///
/// A *group* is 64 bytes of `T` (16 `f32`, 8 `f64`) whatever the vectors' length: rows are padded to groups, and
/// sums over lanes are defined on groups.
pub(super) trait Lanes<T>: Copy {
    /// One vector.
    type V: Copy;
    /// Elements of a vector.
    const LANES: usize;
    /// Vectors of a group, at most 2.
    const PER_GROUP: usize;
    /// The side of the squares that are transposed in registers.
    const SIDE: usize;
    /// Whether there are registers for tiles of eight rows and three vectors.
    const MANY_REGISTERS: bool;
    /// Vectors of half the length, for the last columns; of the same length if there are none.
    type Half: Lanes<T>;

    /// The half-length vectors, which a processor with these has too.
    fn half(self) -> Self::Half;
    /// The value in every lane.
    fn splat(self, value: T) -> Self::V;
    /// Reads a vector.
    ///
    /// # Safety
    /// `LANES` elements can be read at `from`.
    unsafe fn load(self, from: *const T) -> Self::V;
    /// Writes a vector.
    ///
    /// # Safety
    /// `LANES` elements can be written at `to`.
    unsafe fn store(self, to: *mut T, value: Self::V);
    /// Writes a square transposed; its rows are so far apart.
    ///
    /// # Safety
    /// `SIDE` rows of `SIDE` elements can be read at `from` and written at `to`, and share no memory.
    unsafe fn turn(self, from: *const T, step: usize, to: *mut T, to_step: usize);
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: so a NaN in `b` gets through.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`: so a NaN in `b` gets through.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `value`, but 0 in the lanes where the sign bit of `gate` is set.
    fn gate(self, value: Self::V, gate: Self::V) -> Self::V;
    /// `p * 2^n`, where `n` is the integer in the lowest bits of `t`; the result must be a normal number.
    fn scale(self, p: Self::V, t: Self::V) -> Self::V;
    /// The sum of a group: upper half onto lower half until one is left.
    fn sum(self, group: [Self::V; 2]) -> T;
    /// The greatest of a group.
    fn greatest(self, group: [Self::V; 2]) -> T;
}

/// Plain arrays, for processors without a path of their own; slow where there is no fused multiply-add.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

macro_rules! portable {
    ($T:ty, $lanes:expr, $mantissa:expr) => {
        impl Lanes<$T> for Portable {
            type V = [$T; $lanes];
            const LANES: usize = $lanes;
            const PER_GROUP: usize = 1;
            const SIDE: usize = $lanes;
            const MANY_REGISTERS: bool = false;
            type Half = Self;

            #[inline(always)]
            fn half(self) -> Self {
                self
            }

            #[inline(always)]
            fn splat(self, value: $T) -> Self::V {
                [value; $lanes]
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $T) -> Self::V {
                // SAFETY: the caller vouches for `LANES` elements; arrays of T need no more alignment than T.
                unsafe { from.cast::<Self::V>().read() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $T, value: Self::V) {
                // SAFETY: as for `load`.
                unsafe { to.cast::<Self::V>().write(value) }
            }
            #[inline(always)]
            unsafe fn turn(self, from: *const $T, step: usize, to: *mut $T, to_step: usize) {
                // SAFETY: the caller vouches for as many rows as there are lanes, each of one vector.
                unsafe {
                    let rows: [Self::V; $lanes] = std::array::from_fn(|row| self.load(from.add(row * step)));
                    for column in 0..$lanes {
                        self.store(to.add(column * to_step), std::array::from_fn(|row| rows[row][column]));
                    }
                }
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] + b[i])
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] - b[i])
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] * b[i])
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] / b[i])
            }
            #[inline(always)]
            fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn gate(self, value: Self::V, gate: Self::V) -> Self::V {
                std::array::from_fn(|i| if gate[i].is_sign_negative() { 0.0 } else { value[i] })
            }
            #[inline(always)]
            fn scale(self, p: Self::V, t: Self::V) -> Self::V {
                std::array::from_fn(|i| <$T>::from_bits(p[i].to_bits().wrapping_add(t[i].to_bits() << $mantissa)))
            }
            #[inline(always)]
            fn sum(self, group: [Self::V; 2]) -> $T {
                let mut lanes = group[0];
                let mut half = $lanes / 2;
                while half > 0 {
                    for i in 0..half {
                        lanes[i] += lanes[i + half];
                    }
                    half /= 2;
                }
                lanes[0]
            }
            #[inline(always)]
            fn greatest(self, group: [Self::V; 2]) -> $T {
                group[0].iter().fold(group[0][0], |m, &x| if m > x { m } else { x })
            }
        }
    };
}

portable!(f32, 16, 23);
portable!(f64, 8, 52);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_folds_halves() {
        let big = 1e8_f32;
        let mut lanes = [0.0; 16];
        (lanes[0], lanes[8], lanes[1]) = (big, -big, 1.0);
        assert_eq!(Lanes::<f32>::sum(Portable, [lanes, lanes]), 1.0, "0 meets 8 before it meets 1");
    }

    #[test]
    fn scale_moves_the_exponent() {
        let t = 12_582_912.0_f32 - 3.0;
        assert_eq!(Lanes::<f32>::scale(Portable, [1.5; 16], [t; 16]), [0.1875; 16]);
    }

    #[test]
    fn max_lets_nan_through_and_gate_reads_the_sign_of_zero() {
        assert!(Lanes::<f64>::max(Portable, [0.0; 8], [f64::NAN; 8])[0].is_nan());
        assert_eq!(Lanes::<f64>::gate(Portable, [3.0; 8], [-0.0; 8]), [0.0; 8]);
        assert_eq!(Lanes::<f64>::gate(Portable, [3.0; 8], [0.0; 8]), [3.0; 8]);
    }
}
