//! Owns the lanes of x86-64 processors: AVX-512, and AVX2 with FMA.

use super::lanes::Lanes;
use std::arch::x86_64::*;

/// AVX-512: 16 `f32` or 8 `f64`. A value exists only where the processor has AVX-512 F, DQ and VL, AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

/// AVX2: 8 `f32` or 4 `f64`. A value exists only where the processor has AVX2 and FMA, and if there are `MANY`
/// registers, AVX-512 VL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2<const MANY: bool = false>(());

impl Avx512 {
    /// The proof, if this processor can give it.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        (has && Avx2::detect().is_some()).then_some(Self(()))
    }
}

impl Avx2 {
    /// The proof, if this processor can give it.
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// Forwards operations to intrinsics of the same shape.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident),+) = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::V),+) -> Self::V {
            // SAFETY: a value of this type is the proof that the processor has these instructions.
            unsafe { $body }
        }
    )+};
}

/// What all four have in common: the type, and how memory is read and written.
macro_rules! memory {
    ($T:ty, $V:ty, $lanes:expr, $per_group:expr, $side:expr, $many:expr, $Half:ty, $splat:ident, $load:ident, $store:ident) => {
        type V = $V;
        const LANES: usize = $lanes;
        const PER_GROUP: usize = $per_group;
        const SIDE: usize = $side;
        const MANY_REGISTERS: bool = $many;
        type Half = $Half;

        #[inline(always)]
        fn half(self) -> Self::Half {
            Avx2(())
        }

        #[inline(always)]
        fn splat(self, value: $T) -> Self::V {
            // SAFETY: a value of this type is the proof that the processor has these instructions.
            unsafe { $splat(value) }
        }
        #[inline(always)]
        unsafe fn load(self, from: *const $T) -> Self::V {
            // SAFETY: the caller vouches for `LANES` elements; unaligned reads are allowed.
            unsafe { $load(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut $T, value: Self::V) {
            // SAFETY: the caller vouches for `LANES` elements; unaligned writes are allowed.
            unsafe { $store(to, value) }
        }
    };
}

impl Lanes<f32> for Avx512 {
    memory!(f32, __m512, 16, 1, 8, true, Avx2<true>, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps);
    intrinsics! {
        add(a, b) = _mm512_add_ps(a, b);
        sub(a, b) = _mm512_sub_ps(a, b);
        mul(a, b) = _mm512_mul_ps(a, b);
        div(a, b) = _mm512_div_ps(a, b);
        fma(a, b, c) = _mm512_fmadd_ps(a, b, c);
        max(a, b) = _mm512_max_ps(a, b);
        min(a, b) = _mm512_min_ps(a, b);
        gate(value, gate) = _mm512_mask_mov_ps(value, _mm512_movepi32_mask(_mm512_castps_si512(gate)), _mm512_setzero_ps());
        scale(p, t) = _mm512_castsi512_ps(_mm512_add_epi32(
            _mm512_castps_si512(p),
            _mm512_slli_epi32::<23>(_mm512_castps_si512(t)),
        ));
    }
    #[inline(always)]
    unsafe fn turn(self, from: *const f32, step: usize, to: *mut f32, to_step: usize) {
        // SAFETY: the caller vouches for as many elements; the squares are as large.
        unsafe { Avx2::<true>(()).turn(from, step, to, to_step) }
    }
    #[inline(always)]
    fn sum(self, group: [__m512; 2]) -> f32 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let low = _mm512_castps512_ps256(group[0]);
            let high = _mm512_extractf32x8_ps::<1>(group[0]);
            Avx2::<true>(()).sum([low, high])
        }
    }
    #[inline(always)]
    fn greatest(self, group: [__m512; 2]) -> f32 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let low = _mm512_castps512_ps256(group[0]);
            let high = _mm512_extractf32x8_ps::<1>(group[0]);
            Avx2::<true>(()).greatest([low, high])
        }
    }
}

impl Lanes<f64> for Avx512 {
    memory!(f64, __m512d, 8, 1, 4, true, Avx2<true>, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd);
    intrinsics! {
        add(a, b) = _mm512_add_pd(a, b);
        sub(a, b) = _mm512_sub_pd(a, b);
        mul(a, b) = _mm512_mul_pd(a, b);
        div(a, b) = _mm512_div_pd(a, b);
        fma(a, b, c) = _mm512_fmadd_pd(a, b, c);
        max(a, b) = _mm512_max_pd(a, b);
        min(a, b) = _mm512_min_pd(a, b);
        gate(value, gate) = _mm512_mask_mov_pd(value, _mm512_movepi64_mask(_mm512_castpd_si512(gate)), _mm512_setzero_pd());
        scale(p, t) = _mm512_castsi512_pd(_mm512_add_epi64(
            _mm512_castpd_si512(p),
            _mm512_slli_epi64::<52>(_mm512_castpd_si512(t)),
        ));
    }
    #[inline(always)]
    unsafe fn turn(self, from: *const f64, step: usize, to: *mut f64, to_step: usize) {
        // SAFETY: the caller vouches for as many elements; the squares are as large.
        unsafe { Avx2::<true>(()).turn(from, step, to, to_step) }
    }
    #[inline(always)]
    fn sum(self, group: [__m512d; 2]) -> f64 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let low = _mm512_castpd512_pd256(group[0]);
            let high = _mm512_extractf64x4_pd::<1>(group[0]);
            Avx2::<true>(()).sum([low, high])
        }
    }
    #[inline(always)]
    fn greatest(self, group: [__m512d; 2]) -> f64 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let low = _mm512_castpd512_pd256(group[0]);
            let high = _mm512_extractf64x4_pd::<1>(group[0]);
            Avx2::<true>(()).greatest([low, high])
        }
    }
}

impl<const MANY: bool> Lanes<f32> for Avx2<MANY> {
    memory!(f32, __m256, 8, 2, 8, MANY, Self, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps);
    intrinsics! {
        add(a, b) = _mm256_add_ps(a, b);
        sub(a, b) = _mm256_sub_ps(a, b);
        mul(a, b) = _mm256_mul_ps(a, b);
        div(a, b) = _mm256_div_ps(a, b);
        fma(a, b, c) = _mm256_fmadd_ps(a, b, c);
        max(a, b) = _mm256_max_ps(a, b);
        min(a, b) = _mm256_min_ps(a, b);
        gate(value, gate) = _mm256_blendv_ps(value, _mm256_setzero_ps(), gate);
        scale(p, t) = _mm256_castsi256_ps(_mm256_add_epi32(
            _mm256_castps_si256(p),
            _mm256_slli_epi32::<23>(_mm256_castps_si256(t)),
        ));
    }
    #[inline(always)]
    unsafe fn turn(self, from: *const f32, step: usize, to: *mut f32, to_step: usize) {
        // SAFETY: a value of this type is the proof that the processor has these instructions; the caller vouches for eight
        // rows of eight elements at both ends.
        unsafe {
            // Halves of two rows, four apart, in one vector: what is left to do stays within halves.
            let halves = |row: usize, column: usize| {
                let low = _mm256_castps128_ps256(_mm_loadu_ps(from.add(row * step + column)));
                _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add((row + 4) * step + column)))
            };
            for column in [0, 4] {
                let rows: [__m256; 4] = std::array::from_fn(|row| halves(row, column));
                let low = [_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpacklo_ps(rows[2], rows[3])];
                let high = [_mm256_unpackhi_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[2], rows[3])];
                let columns = [
                    _mm256_shuffle_ps::<0b01_00_01_00>(low[0], low[1]),
                    _mm256_shuffle_ps::<0b11_10_11_10>(low[0], low[1]),
                    _mm256_shuffle_ps::<0b01_00_01_00>(high[0], high[1]),
                    _mm256_shuffle_ps::<0b11_10_11_10>(high[0], high[1]),
                ];
                for (place, value) in columns.into_iter().enumerate() {
                    _mm256_storeu_ps(to.add((column + place) * to_step), value);
                }
            }
        }
    }
    #[inline(always)]
    fn sum(self, group: [__m256; 2]) -> f32 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let eight = _mm256_add_ps(group[0], group[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn greatest(self, group: [__m256; 2]) -> f32 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let eight = _mm256_max_ps(group[0], group[1]);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

impl<const MANY: bool> Lanes<f64> for Avx2<MANY> {
    memory!(f64, __m256d, 4, 2, 4, MANY, Self, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd);
    intrinsics! {
        add(a, b) = _mm256_add_pd(a, b);
        sub(a, b) = _mm256_sub_pd(a, b);
        mul(a, b) = _mm256_mul_pd(a, b);
        div(a, b) = _mm256_div_pd(a, b);
        fma(a, b, c) = _mm256_fmadd_pd(a, b, c);
        max(a, b) = _mm256_max_pd(a, b);
        min(a, b) = _mm256_min_pd(a, b);
        gate(value, gate) = _mm256_blendv_pd(value, _mm256_setzero_pd(), gate);
        scale(p, t) = _mm256_castsi256_pd(_mm256_add_epi64(
            _mm256_castpd_si256(p),
            _mm256_slli_epi64::<52>(_mm256_castpd_si256(t)),
        ));
    }
    #[inline(always)]
    unsafe fn turn(self, from: *const f64, step: usize, to: *mut f64, to_step: usize) {
        // SAFETY: a value of this type is the proof that the processor has these instructions; the caller vouches for four
        // rows of four elements at both ends.
        unsafe {
            let halves = |row: usize, column: usize| {
                let low = _mm256_castpd128_pd256(_mm_loadu_pd(from.add(row * step + column)));
                _mm256_insertf128_pd::<1>(low, _mm_loadu_pd(from.add((row + 2) * step + column)))
            };
            for column in [0, 2] {
                let rows: [__m256d; 2] = std::array::from_fn(|row| halves(row, column));
                _mm256_storeu_pd(to.add(column * to_step), _mm256_unpacklo_pd(rows[0], rows[1]));
                _mm256_storeu_pd(to.add((column + 1) * to_step), _mm256_unpackhi_pd(rows[0], rows[1]));
            }
        }
    }
    #[inline(always)]
    fn sum(self, group: [__m256d; 2]) -> f64 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let four = _mm256_add_pd(group[0], group[1]);
            let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
    #[inline(always)]
    fn greatest(self, group: [__m256d; 2]) -> f64 {
        // SAFETY: a value of this type is the proof that the processor has these instructions.
        unsafe {
            let four = _mm256_max_pd(group[0], group[1]);
            let two = _mm_max_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
            _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
}
