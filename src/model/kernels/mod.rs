//! Owns the speed: training steps on blocks of rows, written once and compiled for several kinds of processor.
//!
//! All paths give the same bits, so which machine does the work cannot show in the model: `lanes` says why.
//! This is the only module of the crate with `unsafe` code.
#![allow(unsafe_code)]

mod block;
mod lanes;
mod network;
mod softmax;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use network::{Aligned, BLOCK, Network, padded};
pub use softmax::Exponential;

use super::loss::LogProduct;
use lanes::Portable;
#[cfg(target_arch = "x86_64")]
use x86::{Avx2, Avx512};

/// Which instructions the kernels use. All paths give the same bits; only the time differs.
#[derive(Clone, Copy, Debug)]
pub struct Path(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Path {
    /// All that this processor has, the slowest first. Never empty.
    pub fn available() -> Vec<Path> {
        #[allow(unused_mut, reason = "other processors have the one path only")]
        let mut all = vec![Path(Kind::Portable(Portable))];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx2::detect().map(|proof| Path(Kind::Avx2(proof))));
            all.extend(Avx512::detect().map(|proof| Path(Kind::Avx512(proof))));
        }
        all
    }

    /// The fastest that this processor has.
    pub fn detect() -> Path {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(proof) = Avx512::detect() {
                return Path(Kind::Avx512(proof));
            }
            if let Some(proof) = Avx2::detect() {
                return Path(Kind::Avx2(proof));
            }
        }
        Path(Kind::Portable(Portable))
    }

    /// Its name, for reports.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
        }
    }
}

/// Entry points for one type. Sealed: only `f32` and `f64` have them.
pub trait Kernels: Sized {
    /// See `block::forward`.
    #[doc(hidden)]
    fn forward(path: Path, network: &mut Network<Self>, features: &[Self], rows: usize);
    /// See `block::step`.
    #[doc(hidden)]
    fn step(
        path: Path,
        network: &mut Network<Self>,
        features: &[Self],
        labels: &[u32],
        likelihood: &mut LogProduct,
    );
    /// See `block::update`.
    #[doc(hidden)]
    fn update(path: Path, network: &mut Network<Self>, eta: Self) -> bool;
}

/// Calls a generic kernel, compiled for the path's instructions.
macro_rules! on_path {
    ($path:expr, $kernel:path, ($($arg:ident: $Type:ty),+) -> $Out:ty) => {
        match $path.0 {
            Kind::Portable(s) => $kernel(s, $($arg),+),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(s) => {
                #[target_feature(enable = "avx2,fma")]
                fn compiled(s: Avx2, $($arg: $Type),+) -> $Out {
                    $kernel(s, $($arg),+)
                }
                // SAFETY: `s` is the proof that the processor has these instructions.
                unsafe { compiled(s, $($arg),+) }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(s) => {
                #[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
                fn compiled(s: Avx512, $($arg: $Type),+) -> $Out {
                    $kernel(s, $($arg),+)
                }
                // SAFETY: `s` is the proof that the processor has these instructions.
                unsafe { compiled(s, $($arg),+) }
            }
        }
    };
}

macro_rules! kernels {
    ($T:ty) => {
        impl Kernels for $T {
            fn forward(path: Path, network: &mut Network<$T>, features: &[$T], rows: usize) {
                on_path!(path, block::forward, (network: &mut Network<$T>, features: &[$T], rows: usize) -> ())
            }
            fn step(
                path: Path,
                network: &mut Network<$T>,
                features: &[$T],
                labels: &[u32],
                likelihood: &mut LogProduct,
            ) {
                on_path!(path, block::step, (
                    network: &mut Network<$T>,
                    features: &[$T],
                    labels: &[u32],
                    likelihood: &mut LogProduct
                ) -> ())
            }
            fn update(path: Path, network: &mut Network<$T>, eta: $T) -> bool {
                on_path!(path, block::update, (network: &mut Network<$T>, eta: $T) -> bool)
            }
        }
    };
}

kernels!(f32);
kernels!(f64);
