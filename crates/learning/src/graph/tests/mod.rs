//! Owns the tests of networks: against plain loops, and against whatever a file may hold.

mod hostile;
pub(crate) mod onnx;

use super::{GraphError, Limits, Network, Scratch};
use crate::model::Path;
use onnx::{Attribute, Model};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LIMITS: Limits = Limits { weights: 1 << 24, working: 1 << 24 };

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// What the network says on every path of the processor, which must be the same bits.
fn run(file: &[u8], batch: usize, input: &[f32]) -> Result<Vec<f32>, GraphError> {
    let network = Network::read(file, &LIMITS)?;
    let mut all = Vec::new();
    for path in Path::available() {
        let mut scratch = Scratch::new();
        let first = network.run_on(path, batch, input, &mut scratch)?;
        let again = network.run_on(path, batch, input, &mut scratch)?;
        assert_eq!(bits(&first), bits(&again), "memory that was used before changes nothing");
        all.push(bits(&first));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "the paths differ");
    Ok(all[0].iter().map(|&bits| f32::from_bits(bits)).collect())
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

#[derive(Clone, Debug)]
struct Case {
    groups: usize,
    /// Of a group.
    channels: usize,
    outputs: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
    seed: u64,
}

impl Case {
    fn out_size(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            (self.size[axis] + self.pads[axis] + self.pads[axis + 2] - reach) / self.stride[axis] + 1
        })
    }

    /// The input at a tap, if it is in the image.
    fn at(&self, out: [usize; 2], tap: [usize; 2]) -> Option<usize> {
        let [y, x] = [0, 1].map(|axis| {
            let at = out[axis] * self.stride[axis] + tap[axis] * self.dilation[axis];
            at.checked_sub(self.pads[axis]).filter(|&at| at < self.size[axis])
        });
        Some(y? * self.size[1] + x?)
    }

    fn attributes<T>(&self, run: impl FnOnce(&[(&str, Attribute<'_>)]) -> T) -> T {
        let ints = |values: &[usize]| values.iter().map(|&x| x as i64).collect::<Vec<_>>();
        let (kernel, stride, dilation, pads) =
            (ints(&self.kernel), ints(&self.stride), ints(&self.dilation), ints(&self.pads));
        run(&[
            ("kernel_shape", Attribute::Ints(&kernel)),
            ("strides", Attribute::Ints(&stride)),
            ("dilations", Attribute::Ints(&dilation)),
            ("pads", Attribute::Ints(&pads)),
            ("group", Attribute::Int(self.groups as i64)),
        ])
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1_usize..14, 1_usize..14);
    let shapes = prop_oneof![
        (1_usize..5, 1_usize..20, 1_usize..40),
        (1_usize..40).prop_map(|groups| (groups, 1, 1)),
        (1_usize..3, 30_usize..80, 40_usize..70),
    ];
    let window = (1_usize..5, 1_usize..4, 1_usize..3, 0_usize..3, 0_usize..3);
    (shapes, sizes, window.clone(), window, any::<u64>()).prop_map(
        |((groups, channels, outputs), size, down, across, seed)| {
            let mut case = Case {
                groups,
                channels,
                outputs,
                size: [size.0, size.1],
                kernel: [down.0, across.0],
                stride: [down.1, across.1],
                dilation: [down.2, across.2],
                pads: [down.3, across.3, down.4, across.4],
                seed,
            };
            for axis in 0..2 {
                if case.size[axis] + case.pads[axis] + case.pads[axis + 2]
                    < (case.kernel[axis] - 1) * case.dilation[axis] + 1
                {
                    (case.kernel[axis], case.dilation[axis]) = (1, 1);
                }
            }
            case
        },
    )
}

fn assert_close(found: &[f32], expected: &[f64], case: &impl std::fmt::Debug) {
    let sizes: Vec<f64> = expected.iter().map(|value| value.abs()).collect();
    assert_close_to_sums(found, expected, &sizes, case);
}

/// The same of sums whose terms come to these sizes: they are what rounding goes by, however little is left of them.
fn assert_close_to_sums(found: &[f32], expected: &[f64], sizes: &[f64], case: &impl std::fmt::Debug) {
    assert_eq!((found.len(), sizes.len()), (expected.len(), expected.len()));
    for (at, ((&found, &expected), size)) in found.iter().zip(expected).zip(sizes).enumerate() {
        let off = (f64::from(found) - expected).abs();
        assert!(off <= 2e-5 * (1.0 + size), "{found} at {at} instead of {expected}: {case:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn convolutions_are_sums_over_windows(case in cases(), planes in any::<bool>(), add in any::<bool>()) {
        let Case { groups, channels: each, outputs, size, kernel, .. } = case.clone();
        let (channels, all) = (groups * each, groups * outputs);
        let [down, across] = case.out_size();
        let input = numbers(case.seed, channels * size[0] * size[1]);
        let weights = numbers(case.seed ^ 1, all * each * kernel[0] * kernel[1]);
        let bias = numbers(case.seed ^ 2, all);
        let mut model = Model::new(&[0, channels as u64, size[0] as u64, size[1] as u64]);
        model.floats("w", &[all as u64, each as u64, kernel[0] as u64, kernel[1] as u64], &weights);
        model.floats("b", &[all as u64], &bias).ints("row", &[1, -1]);
        // A step before it, so that the image lies as pixels, or none.
        model.node("MaxPool", &["x"], "same", &[("kernel_shape", Attribute::Ints(&[1, 1]))]);
        let from = if planes { "x" } else { "same" };
        case.attributes(|attributes| model.node("Conv", &[from, "w", "b"], "c", attributes));
        if add {
            case.attributes(|attributes| model.node("Conv", &[from, "w"], "d", attributes));
            model.node("Add", &["c", "d"], "e", &[]);
        }
        model.node("Relu", &[if add { "e" } else { "c" }], "r", &[]);
        let found = run(&model.node("Reshape", &["r", "row"], "y", &[]).file("y"), 1, &input).unwrap();
        let (mut expected, mut sizes) = (Vec::new(), Vec::new());
        for output in 0..all {
            for place in 0..down * across {
                let out = [place / across, place % across];
                let (mut sum, mut size_of_terms) = (0.0, 0.0);
                for channel in 0..each {
                    for tap in 0..kernel[0] * kernel[1] {
                        let Some(at) = case.at(out, [tap / kernel[1], tap % kernel[1]]) else { continue };
                        let x = input[(output / outputs * each + channel) * size[0] * size[1] + at];
                        let w = weights[(output * each + channel) * kernel[0] * kernel[1] + tap];
                        sum += f64::from(x) * f64::from(w);
                        size_of_terms += (f64::from(x) * f64::from(w)).abs();
                    }
                }
                expected.push((if add { 2.0 * sum } else { sum } + f64::from(bias[output])).max(0.0));
                // A thousand terms are rounded some thirty times as much as one, not a thousand times.
                sizes.push(expected.last().map_or(0.0, |value| value.abs()).max(size_of_terms / 32.0));
            }
        }
        assert_close_to_sums(&found, &expected, &sizes, &case);
    }

    #[test]
    fn pools_are_over_windows(case in cases(), with in any::<bool>(), max in any::<bool>()) {
        let channels = case.groups * case.channels;
        let [height, width] = case.size;
        let case = Case { dilation: if max { case.dilation } else { [1, 1] }, ..case };
        let [down, across] = case.out_size();
        let input = numbers(case.seed, channels * height * width);
        let mut model = Model::new(&[1, channels as u64, height as u64, width as u64]);
        model.ints("row", &[1, -1]);
        case.attributes(|attributes| {
            let mut attributes = attributes[..if max { 4 } else { 2 }].to_vec();
            let pads: Vec<i64> = case.pads.iter().map(|&x| x as i64).collect();
            attributes.extend([("pads", Attribute::Ints(&pads)), ("count_include_pad", Attribute::Int(with.into()))]);
            model.node(if max { "MaxPool" } else { "AveragePool" }, &["x"], "p", &attributes);
        });
        let found = run(&model.node("Reshape", &["p", "row"], "y", &[]).file("y"), 1, &input).unwrap();
        let mut expected = Vec::new();
        for channel in 0..channels {
            for place in 0..down * across {
                let taps = (0..case.kernel[0] * case.kernel[1]).filter_map(|tap| {
                    case.at([place / across, place % across], [tap / case.kernel[1], tap % case.kernel[1]])
                });
                let seen: Vec<f64> = taps.map(|at| f64::from(input[channel * height * width + at])).collect();
                let count = if with { case.kernel[0] * case.kernel[1] } else { seen.len().max(1) };
                let greatest = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                expected.push(match (seen.is_empty(), max) {
                    (true, _) => 0.0,
                    (_, true) => greatest,
                    _ => seen.iter().sum::<f64>() / count as f64,
                });
            }
        }
        assert_close(&found, &expected, &case);
    }

    #[test]
    fn dense_layers_are_products(rows in 1_usize..4, inner in 1_usize..1200, outputs in 1_usize..120, turned in any::<bool>(), seed in any::<u64>()) {
        let (input, weights) = (numbers(seed, rows * inner), numbers(seed ^ 1, inner * outputs));
        let bias = numbers(seed ^ 2, outputs);
        let mut model = Model::new(&[0, inner as u64]);
        let dims = if turned { [outputs as u64, inner as u64] } else { [inner as u64, outputs as u64] };
        model.floats("w", &dims, &weights).floats("b", &[outputs as u64], &bias);
        let attributes = [("transB", Attribute::Int(turned.into())), ("alpha", Attribute::Float(0.5))];
        let found = run(&model.node("Gemm", &["x", "w", "b"], "y", &attributes).file("y"), rows, &input).unwrap();
        let mut expected = Vec::new();
        for row in input.chunks_exact(inner) {
            for output in 0..outputs {
                let weight = |link: usize| weights[if turned { output * inner + link } else { link * outputs + output }];
                let sum: f64 = row.iter().enumerate().map(|(link, &x)| f64::from(x) * f64::from(weight(link))).sum();
                expected.push(0.5 * sum + f64::from(bias[output]));
            }
        }
        assert_close(&found, &expected, &(rows, inner, outputs));
    }
}

#[test]
fn a_batch_is_its_images() {
    let file = hostile::small();
    let network = Network::read(&file, &LIMITS).unwrap();
    assert_eq!(
        (network.input().name.as_str(), network.input().dims.clone()),
        ("x", vec![None, Some(3), Some(6), Some(5)])
    );
    assert_eq!((network.output().name.as_str(), network.output().dims.clone()), ("y", vec![None, Some(7)]));
    let input = numbers(3, 5 * 90);
    let all = run(&file, 5, &input).unwrap();
    for (image, out) in input.chunks_exact(90).zip(all.chunks_exact(7)) {
        assert_eq!(bits(&run(&file, 1, image).unwrap()), bits(out));
        assert!((out.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
    assert!(run(&file, 0, &[]).unwrap().is_empty());
    let says = run(&file, 2, &input).unwrap_err().to_string();
    assert_eq!(says, "450 numbers are not 2 images of 90 numbers each");
    assert!(network.bytes() > 4 * 7 * 40 && network.working_bytes(1) < 1 << 20);
}

#[test]
fn networks_are_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Network>();
}
