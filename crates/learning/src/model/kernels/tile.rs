//! Owns the matrix product: tiles of four or eight rows by one to three vectors, kept in registers.
//!
//! Every element of a product is one chain of fused multiply-adds in the order of the inner index, so neither the
//! shape of the tiles nor the length of the vectors can change a bit of it.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::lanes::Lanes;

/// Where an element's chain starts.
#[derive(Clone, Copy)]
pub(super) enum Start<'a, T> {
    /// At zero.
    Zero,
    /// At the element of this row that stands above it.
    Bias(&'a [T]),
    /// At what the output holds.
    Output,
}

/// What is done to an element before it is written.
#[derive(Clone, Copy)]
pub(super) enum Finish<'a, T> {
    /// Nothing.
    Keep,
    /// A negative becomes -0, anything else stays (and -0 becomes +0): so the sign bit tells that the unit is off.
    Relu,
    /// It becomes 0 where this matrix, laid out like the output, has its sign bit set.
    Gate(&'a [T]),
    /// It is multiplied by what stands there in this matrix, laid out like the output.
    Times(&'a [T]),
}

/// `out = finish(start + a * b)`, all in rows that are `*_step` apart.
pub(super) struct Product<'a, T> {
    /// Rows of the output, a multiple of 4.
    pub rows: usize,
    /// Length of a chain.
    pub inner: usize,
    /// Columns of the output; up to the next whole vector is computed.
    pub columns: usize,
    /// Left matrix.
    pub a: &'a [T],
    /// From a row of the output to the next, in `a`.
    pub a_row: usize,
    /// From a link of a chain to the next, in `a`.
    pub a_inner: usize,
    /// Right matrix: a row for each link of the chain.
    pub b: &'a [T],
    /// From a row to the next in `b`.
    pub b_row: usize,
    /// Where the chains start.
    pub start: Start<'a, T>,
    /// What happens at their end.
    pub finish: Finish<'a, T>,
    /// The output.
    pub out: &'a mut [T],
    /// From a row to the next in `out`.
    pub out_row: usize,
}

impl<T> Product<'_, T> {
    /// Panics unless every element that will be touched is inside its slice.
    #[inline(always)]
    fn check(&self, lanes: usize) {
        let width = self.columns.div_ceil(lanes) * lanes;
        assert!(self.rows > 0 && self.rows.is_multiple_of(4) && self.inner > 0 && self.columns > 0);
        assert!((self.rows - 1) * self.a_row + (self.inner - 1) * self.a_inner < self.a.len());
        assert!((self.inner - 1) * self.b_row + width <= self.b.len());
        assert!((self.rows - 1) * self.out_row + width <= self.out.len());
        if let Start::Bias(bias) = self.start {
            assert!(width <= bias.len());
        }
        if let Finish::Gate(other) | Finish::Times(other) = self.finish {
            assert!(self.out.len() <= other.len());
        }
    }
}

/// Computes the product.
#[inline(always)]
pub(super) fn product<T: Copy + From<f32>, S: Lanes<T>>(s: S, mut p: Product<'_, T>) {
    p.check(S::LANES);
    let mut column = 0;
    while column < p.columns {
        let left = p.columns - column;
        // SAFETY (of all four): `check` has seen that every row is inside up to the end of the last whole vector, and
        // the columns done so far are whole vectors.
        // An odd number of halves does with halves what whole vectors would do with a half too much.
        let half = <S::Half as Lanes<T>>::LANES;
        column += match (left.div_ceil(S::LANES), left.div_ceil(half)) {
            (_, 1) => unsafe { panel::<T, S::Half, 1>(s.half(), &mut p, column) },
            (2, 3) => unsafe { panel::<T, S::Half, 3>(s.half(), &mut p, column) },
            (1, _) | (3, 5) => unsafe { panel::<T, S, 1>(s, &mut p, column) },
            (2 | 4, _) => unsafe { panel::<T, S, 2>(s, &mut p, column) },
            _ => unsafe { panel::<T, S, 3>(s, &mut p, column) },
        };
    }
}

/// Computes `C` vectors of every row, and says how many columns that were.
///
/// # Safety
/// `p.check` has passed and the columns `column..column + C * LANES` are among those it looked at.
#[inline(always)]
unsafe fn panel<T: Copy + From<f32>, S: Lanes<T>, const C: usize>(
    s: S,
    p: &mut Product<'_, T>,
    column: usize,
) -> usize {
    let mut row = 0;
    if S::MANY_REGISTERS || C == 1 {
        while row + 8 <= p.rows {
            // SAFETY: rows and columns are inside, as the caller vouches.
            unsafe { tile::<T, S, 8, C>(s, p, row, column) };
            row += 8;
        }
    }
    while row + 4 <= p.rows {
        // SAFETY: as above.
        unsafe { tile::<T, S, 4, C>(s, p, row, column) };
        row += 4;
    }
    C * S::LANES
}

/// Computes `R` rows of `C` vectors.
///
/// # Safety
/// As for [`panel`], and `row + R <= p.rows`.
#[inline(always)]
unsafe fn tile<T: Copy + From<f32>, S: Lanes<T>, const R: usize, const C: usize>(
    s: S,
    p: &mut Product<'_, T>,
    row: usize,
    column: usize,
) {
    // SAFETY (all of the body): `check` has compared the greatest offset of each slice with its length, and every
    // offset below is at most that, because row + r < rows, link < inner, column + c * LANES + LANES <= width.
    unsafe {
        let out = p.out.as_mut_ptr().add(row * p.out_row + column);
        let mut sums = [[s.splat(T::from(0.0)); C]; R];
        match p.start {
            Start::Zero => {}
            Start::Bias(bias) => {
                for c in 0..C {
                    let value = s.load(bias.as_ptr().add(column + c * S::LANES));
                    for sum in &mut sums {
                        sum[c] = value;
                    }
                }
            }
            Start::Output => {
                for r in 0..R {
                    for c in 0..C {
                        sums[r][c] = s.load(out.add(r * p.out_row + c * S::LANES));
                    }
                }
            }
        }
        let mut a = p.a.as_ptr().add(row * p.a_row);
        let mut b = p.b.as_ptr().add(column);
        for _ in 0..p.inner {
            let mut across = [s.splat(T::from(0.0)); C];
            for c in 0..C {
                across[c] = s.load(b.add(c * S::LANES));
            }
            for r in 0..R {
                let down = s.splat(*a.add(r * p.a_row));
                for c in 0..C {
                    sums[r][c] = s.fma(down, across[c], sums[r][c]);
                }
            }
            // Past the last link these may point beyond the slice, where they are not read.
            a = a.wrapping_add(p.a_inner);
            b = b.wrapping_add(p.b_row);
        }
        for r in 0..R {
            for c in 0..C {
                let at = r * p.out_row + c * S::LANES;
                let value = match p.finish {
                    Finish::Keep => sums[r][c],
                    Finish::Relu => s.max(s.splat(T::from(-0.0)), s.add(sums[r][c], s.splat(T::from(0.0)))),
                    Finish::Gate(gate) => {
                        s.gate(sums[r][c], s.load(gate.as_ptr().add(row * p.out_row + column + at)))
                    }
                    Finish::Times(factor) => {
                        s.mul(sums[r][c], s.load(factor.as_ptr().add(row * p.out_row + column + at)))
                    }
                };
                s.store(out.add(at), value);
            }
        }
    }
}

/// `out += the sum of the rows of a`, in the order of the rows. `out` and the rows are whole groups long.
#[inline(always)]
pub(super) fn add_rows<T: Copy, S: Lanes<T>>(s: S, rows: usize, a: &[T], a_row: usize, out: &mut [T]) {
    assert!(rows > 0 && out.len() <= a_row && rows * a_row <= a.len());
    let mut column = 0;
    // A sum waits for itself, so several go side by side.
    while column + 4 * S::LANES <= out.len() {
        // SAFETY: column + 4 * LANES <= out.len() <= a_row, and rows * a_row <= a.len().
        unsafe { add_columns::<T, S, 4>(s, rows, a.as_ptr().add(column), a_row, out.as_mut_ptr().add(column)) };
        column += 4 * S::LANES;
    }
    while column + 2 * S::LANES <= out.len() {
        // SAFETY: as above, with 2.
        unsafe { add_columns::<T, S, 2>(s, rows, a.as_ptr().add(column), a_row, out.as_mut_ptr().add(column)) };
        column += 2 * S::LANES;
    }
    while column + S::LANES <= out.len() {
        // SAFETY: as above, with 1.
        unsafe { add_columns::<T, S, 1>(s, rows, a.as_ptr().add(column), a_row, out.as_mut_ptr().add(column)) };
        column += S::LANES;
    }
}

/// Adds `C` vectors of `rows` rows to those at `to`.
///
/// # Safety
/// `C` vectors can be read at `from + row * step` for every row, and read and written at `to`.
#[inline(always)]
unsafe fn add_columns<T: Copy, S: Lanes<T>, const C: usize>(
    s: S,
    rows: usize,
    from: *const T,
    step: usize,
    to: *mut T,
) {
    // SAFETY: the caller vouches for all of it.
    unsafe {
        let mut sums = [s.load(to); C];
        for c in 1..C {
            sums[c] = s.load(to.add(c * S::LANES));
        }
        for row in 0..rows {
            for c in 0..C {
                sums[c] = s.add(sums[c], s.load(from.add(row * step + c * S::LANES)));
            }
        }
        for c in 0..C {
            s.store(to.add(c * S::LANES), sums[c]);
        }
    }
}

/// `out += factor * a`, element by element. Both are whole groups long.
#[inline(always)]
pub(super) fn add_scaled<T: Copy, S: Lanes<T>>(s: S, factor: T, a: &[T], out: &mut [T]) {
    assert!(out.len() <= a.len());
    let factor = s.splat(factor);
    let mut at = 0;
    while at + S::LANES <= out.len() {
        // SAFETY: at + LANES <= out.len() <= a.len().
        unsafe {
            let to = out.as_mut_ptr().add(at);
            s.store(to, s.fma(factor, s.load(a.as_ptr().add(at)), s.load(to)));
        }
        at += S::LANES;
    }
}
