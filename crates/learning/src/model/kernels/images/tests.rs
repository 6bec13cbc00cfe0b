//! Owns the tests of the kernels that networks do not reach: curves over their whole range.

use super::*;

type Plain = fn(f64) -> f64;

#[test]
fn curves_are_what_they_say_on_every_path() {
    let xs: Vec<f32> = (-1_600..1_600).map(|x| x as f32 / 20.0).collect();
    let cases: [(Curve, Plain); 9] = [
        (Curve::Clip(-1.0, 6.0), |x| x.clamp(-1.0, 6.0)),
        (Curve::Leaky(0.125), |x| if x < 0.0 { 0.125 * x } else { x }),
        (Curve::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Curve::Swish, |x| x / (1.0 + (-x).exp())),
        (Curve::HardSigmoid(0.25, 0.5), |x| (0.25 * x + 0.5).clamp(0.0, 1.0)),
        (Curve::HardSwish, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        (Curve::Tanh, f64::tanh),
        (Curve::Exp, f64::exp),
        (Curve::Abs, f64::abs),
    ];
    for (curve, expected) in cases {
        let mut all: Vec<Vec<u32>> = Vec::new();
        for path in Path::available() {
            let mut data = xs.clone();
            bend(path, curve, &mut data);
            for (&x, &y) in xs.iter().zip(&data) {
                let expected = expected(x.into());
                let off = (f64::from(y) - expected).abs();
                assert!(off <= 1e-6 * (0.1 + expected.abs()), "{curve:?} of {x} is {y}, not {expected}");
            }
            all.push(data.iter().map(|y| y.to_bits()).collect());
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{curve:?}");
    }
}

#[test]
fn not_a_number_gets_through() {
    for curve in [Curve::RELU, Curve::Swish, Curve::Tanh, Curve::HardSwish] {
        let mut data = [f32::NAN; 16];
        bend(Path::detect(), curve, &mut data);
        assert!(data.iter().all(|x| x.is_nan()), "{curve:?}");
    }
}

#[test]
fn logarithm_and_exponential_are_inverse() {
    for x in [1e-30, 0.3, 1.0, 2.0, 77.0, 1e20] {
        assert!((exponential(logarithm(x)) / x - 1.0).abs() < 1e-13);
        assert!((logarithm(x) - f64::ln(x)).abs() < 1e-13 * (1.0 + f64::ln(x).abs()));
    }
}
