//! Owns the speed: training steps on blocks of rows, written once and compiled for several kinds of processor.
//!
//! All paths give the same bits, so which machine does the work cannot show in the model: `lanes` says why.
//! This is the only module of the crate with `unsafe` code.
#![allow(unsafe_code)]

mod bend;
mod block;
mod entropy;
mod gather;
mod lanes;
mod network;
mod softmax;
mod sweep;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use entropy::Goal;
pub(super) use gather::Standard;
pub(super) use network::{Aligned, BLOCK, Network, padded};
pub use softmax::Exponential;
pub use sweep::{Rule, Stretch};

use super::learning::OptimizerSettings;
use super::loss::{LogProduct, Tally};
use super::optimizer::{Entry, Optimizer};
use crate::data::Row;
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
    /// See `block::learn`.
    #[doc(hidden)]
    fn learn(path: Path, network: &mut Network<Self>, features: &[Self], goal: Goal<'_, Self>, tally: &mut Tally);
    /// See `network::moved`.
    #[doc(hidden)]
    fn moved(path: Path, network: &mut Network<Self>);
    /// See `gather::gather`.
    #[doc(hidden)]
    fn gather(path: Path, rows: &[Row<'_>], columns: usize, standard: &Standard<Self>, to: &mut [Self]);
    /// See `gather::pick`.
    #[doc(hidden)]
    fn pick(path: Path, from: &[Self], rows: &[u32], step: usize, to: &mut [Self]);
    /// See `sweep::step`.
    #[doc(hidden)]
    fn sweep<R: Rule<Self>>(path: Path, rule: R, stretch: Stretch<'_, Self>);
    /// See `sweep::mean_gradient`.
    #[doc(hidden)]
    fn mean_gradient(
        path: Path,
        gradient: &mut [Self],
        scale: Self,
        weights: &[Self],
        start: &[Self],
        pull: Self,
    ) -> f64;
    /// See `sweep::finite`.
    #[doc(hidden)]
    fn finite(path: Path, network: &Network<Self>) -> bool;
    /// This optimiser for weights of this type.
    #[doc(hidden)]
    fn optimizer(entry: &Entry, settings: &OptimizerSettings, weight_decay: f64) -> Box<dyn Optimizer<Self>>;
}

/// Calls a generic kernel, compiled for the path's instructions. A kernel that is one expression over plain slices is
/// given as that; others take the lanes first.
macro_rules! on_path {
    ($path:expr, $kernel:path, $([$R:ident: $Bound:path],)? ($($arg:ident: $Type:ty),+) -> $Out:ty) => {
        on_path!($path, |s| $kernel(s, $($arg),+), $([$R: $Bound],)? ($($arg: $Type),+) -> $Out)
    };
    ($path:expr, |$s:ident| $kernel:expr, $([$R:ident: $Bound:path],)? ($($arg:ident: $Type:ty),+) -> $Out:ty) => {
        match $path.0 {
            #[allow(unused_variables, reason = "a kernel over plain slices needs no lanes")]
            Kind::Portable($s) => $kernel,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(proof) => {
                #[target_feature(enable = "avx2,fma")]
                #[allow(unused_variables, reason = "as above")]
                fn compiled$(<$R: $Bound>)?($s: Avx2, $($arg: $Type),+) -> $Out {
                    $kernel
                }
                // SAFETY: `proof` says that the processor has these instructions.
                unsafe { compiled(proof, $($arg),+) }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(proof) => {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
                #[allow(unused_variables, reason = "as above")]
                fn compiled$(<$R: $Bound>)?($s: Avx512, $($arg: $Type),+) -> $Out {
                    $kernel
                }
                // SAFETY: `proof` says that the processor has these instructions.
                unsafe { compiled(proof, $($arg),+) }
            }
        }
    };
}

// After the macro that it uses.
pub(crate) mod images;

macro_rules! kernels {
    ($T:ty, $make:ident) => {
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
            fn learn(
                path: Path,
                network: &mut Network<$T>,
                features: &[$T],
                goal: Goal<'_, $T>,
                tally: &mut Tally,
            ) {
                on_path!(path, block::learn, (
                    network: &mut Network<$T>,
                    features: &[$T],
                    goal: Goal<'_, $T>,
                    tally: &mut Tally
                ) -> ())
            }
            fn moved(path: Path, network: &mut Network<$T>) {
                on_path!(path, network::moved, (network: &mut Network<$T>) -> ())
            }
            fn gather(path: Path, rows: &[Row<'_>], columns: usize, standard: &Standard<$T>, to: &mut [$T]) {
                on_path!(path, |s| gather::gather(rows, columns, standard, to), (
                    rows: &[Row<'_>],
                    columns: usize,
                    standard: &Standard<$T>,
                    to: &mut [$T]
                ) -> ())
            }
            fn pick(path: Path, from: &[$T], rows: &[u32], step: usize, to: &mut [$T]) {
                on_path!(path, |s| gather::pick(from, rows, step, to), (
                    from: &[$T],
                    rows: &[u32],
                    step: usize,
                    to: &mut [$T]
                ) -> ())
            }
            fn sweep<R: Rule<$T>>(path: Path, rule: R, stretch: Stretch<'_, $T>) {
                on_path!(path, |s| sweep::step(rule, stretch), [R: Rule<$T>], (
                    rule: R,
                    stretch: Stretch<'_, $T>
                ) -> ())
            }
            fn mean_gradient(
                path: Path,
                gradient: &mut [$T],
                scale: $T,
                weights: &[$T],
                start: &[$T],
                pull: $T,
            ) -> f64 {
                on_path!(path, |s| sweep::mean_gradient(gradient, scale, weights, start, pull), (
                    gradient: &mut [$T],
                    scale: $T,
                    weights: &[$T],
                    start: &[$T],
                    pull: $T
                ) -> f64)
            }
            fn finite(path: Path, network: &Network<$T>) -> bool {
                on_path!(path, |s| sweep::finite(&network.layers), (network: &Network<$T>) -> bool)
            }
            fn optimizer(
                entry: &Entry,
                settings: &OptimizerSettings,
                weight_decay: f64,
            ) -> Box<dyn Optimizer<$T>> {
                (entry.$make)(settings, weight_decay)
            }
        }
    };
}

kernels!(f32, single);
kernels!(f64, double);
