//! Owns resizing: each new pixel is the weighted mean of all old ones that it covers, in whole numbers.
//!
//! The arithmetic is that of Pillow, with which most networks were trained: the same weights of 22 bits, columns first,
//! rounded to bytes in between. So the result has the same bits as there, and on every machine.

/// Bits after the point of a weight: the sum of 255 times weights, of which some are negative, still fits 32 bits.
const BITS: u32 = 22;
const HALF: i32 = 1 << (BITS - 1);

/// How a new pixel weighs the old ones around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    /// Old pixels (new ones, if those are wider) up to which it reaches.
    pub reach: f64,
    /// The weight at a distance.
    pub weight: fn(f64) -> f64,
}

/// All pixels under the new one, alike.
pub(super) const BOX: Filter = Filter { reach: 0.5, weight: |x| f64::from(u8::from(x > -0.5 && x <= 0.5)) };
/// Less with the distance, down to nothing at one.
pub(super) const BILINEAR: Filter = Filter { reach: 1.0, weight: |x| (1.0 - x.abs()).max(0.0) };
/// Keys's cubic with a = -0.5.
pub(super) const BICUBIC: Filter = Filter {
    reach: 2.0,
    weight: |x| {
        const A: f64 = -0.5;
        match x.abs() {
            x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    },
};

/// One direction of a resizing: `length` old pixels, after `skip` that count for nothing, become `whole` new ones, of
/// which `count` are wanted, from `first` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Side {
    pub skip: usize,
    pub length: usize,
    pub whole: usize,
    pub first: usize,
    pub count: usize,
}

impl Side {
    /// All of it.
    pub fn all(length: usize, whole: usize) -> Self {
        Self { skip: 0, length, whole, first: 0, count: whole }
    }

    /// For each new pixel, where the old ones begin that it is made of, and their weights.
    fn taps(&self, filter: Filter) -> Vec<Tap> {
        if self.whole == self.length {
            let one = |place| Tap { start: self.skip + place, weights: vec![1 << BITS] };
            return (self.first..self.first + self.count).map(one).collect();
        }
        let scale = self.length as f64 / self.whole as f64;
        let spread = scale.max(1.0);
        let reach = filter.reach * spread;
        let tap = |place: usize| {
            let centre = (place as f64 + 0.5) * scale;
            // The cast cuts off towards zero, and what is negative is zero.
            let start = ((centre - reach + 0.5) as usize).min(self.length.saturating_sub(1));
            let end = ((centre + reach + 0.5) as usize).clamp(start + 1, self.length);
            let weights: Vec<f64> =
                (start..end).map(|x| (filter.weight)((x as f64 - centre + 0.5) * (1.0 / spread))).collect();
            let sum: f64 = weights.iter().sum();
            let whole = |weight: &f64| {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                let scaled = weight * f64::from(1 << BITS);
                (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
            };
            Tap { start: self.skip + start, weights: weights.iter().map(whole).collect() }
        };
        (self.first..self.first + self.count).map(tap).collect()
    }
}

struct Tap {
    start: usize,
    weights: Vec<i32>,
}

/// Resizes a picture of `C` bytes a pixel. Rows of the old one are `old` bytes long and lie one after the other, those
/// of the new one begin `step` bytes apart.
pub(super) fn resize<const C: usize>(
    (from, old): (&[u8], usize),
    across: Side,
    down: Side,
    filter: Filter,
    (to, step): (&mut [u8], usize),
) {
    let (columns, rows) = (across.taps(filter), down.taps(filter));
    let line = across.count * C;
    if line == 0 || old == 0 {
        return;
    }
    // The rows that the next new one is made of, narrowed: each old row is narrowed once, two at a time.
    let places = rows.iter().map(|tap| tap.weights.len()).max().unwrap_or(0) + 1;
    let mut ring = vec![0; places * line];
    let (mut pairs, mut two) = (vec![0; old], vec![[0; 2]; line]);
    let mut sums = vec![0_i32; line];
    let mut next = 0;
    for (tap, to) in rows.iter().zip(to.chunks_mut(step)) {
        next = next.max(tap.start);
        while next < tap.start + tap.weights.len() {
            let first = &from[next * old..(next + 1) * old];
            let second = from.get((next + 1) * old..(next + 2) * old).unwrap_or(first);
            for (pair, (&a, &b)) in pairs.iter_mut().zip(first.iter().zip(second)) {
                *pair = i64::from(a) | i64::from(b) << 32;
            }
            narrow::<C>(&pairs, &columns, &mut two);
            for row in 0..2 {
                let to = &mut ring[(next + row) % places * line..][..line];
                to.iter_mut().zip(&two).for_each(|(to, two)| *to = two[row]);
            }
            next += 2;
        }
        sums.fill(HALF);
        for (row, &weight) in (tap.start..).zip(&tap.weights) {
            let narrowed = &ring[row % places * line..][..line];
            for (sum, &x) in sums.iter_mut().zip(narrowed) {
                *sum = sum.wrapping_add(i32::from(x).wrapping_mul(weight));
            }
        }
        to.iter_mut().zip(&sums).for_each(|(to, &sum)| *to = byte(sum));
    }
}

/// Two rows, resized across. A byte of each stands in one number, 32 bits apart, so that one multiplication serves both.
fn narrow<const C: usize>(rows: &[i64], columns: &[Tap], to: &mut [[u8; 2]]) {
    let pixels = rows.as_chunks::<C>().0;
    for (tap, to) in columns.iter().zip(to.as_chunks_mut::<C>().0) {
        let mut sums = [0_i64; C];
        for (pixel, &weight) in pixels[tap.start..].iter().zip(&tap.weights) {
            for (sum, &x) in sums.iter_mut().zip(pixel) {
                *sum = sum.wrapping_add(x.wrapping_mul(i64::from(weight)));
            }
        }
        *to = sums.map(|sum| {
            let first = sum as i32;
            // What is below 0 in the first has borrowed of the second.
            let second = (sum.wrapping_sub(i64::from(first)) >> 32) as i32;
            [first, second].map(|sum| byte(sum.wrapping_add(HALF)))
        });
    }
}

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gray(from: &[u8], width: usize, size: (usize, usize), filter: Filter) -> Vec<u8> {
        let mut to = vec![0; size.0 * size.1];
        let down = Side::all(from.len() / width, size.1);
        resize::<1>((from, width), Side::all(width, size.0), down, filter, (&mut to, size.0));
        to
    }

    /// What Pillow 13 makes of these: `Image.frombytes("L", (7, 5), ..).resize(size, filter)`.
    #[test]
    fn bits_are_pillows() {
        let from: Vec<u8> = (0..35_u32).map(|i| (i * i * 37 + i * 11) as u8).collect();
        for (filter, size, right) in GOLDEN {
            assert_eq!(gray(&from, 7, *size, *filter), *right, "{size:?}");
        }
    }

    const GOLDEN: &[(Filter, (usize, usize), &[u8])] = &[
        (BOX, (3, 2), &[96, 151, 182, 183, 90, 173]),
        (
            BOX,
            (9, 8),
            &[
                0, 48, 48, 170, 110, 124, 212, 212, 118, 0, 48, 48, 170, 110, 124, 212, 212, 118, 98, 152, 152,
                24, 226, 246, 84, 84, 252, 238, 42, 42, 176, 128, 154, 254, 254, 172, 238, 42, 42, 176, 128, 154,
                254, 254, 172, 164, 230, 230, 114, 72, 104, 210, 210, 134, 132, 204, 204, 94, 58, 96, 208, 208,
                138, 132, 204, 204, 94, 58, 96, 208, 208, 138,
            ],
        ),
        (
            BOX,
            (7, 3),
            &[49, 100, 97, 168, 185, 148, 185, 238, 42, 176, 128, 154, 254, 172, 148, 217, 104, 65, 100, 209, 136],
        ),
        (
            BOX,
            (4, 5),
            &[24, 140, 124, 165, 125, 125, 246, 168, 140, 152, 154, 213, 197, 93, 104, 172, 168, 76, 96, 173],
        ),
        (BOX, (1, 1), &[143]),
        (BILINEAR, (3, 2), &[101, 149, 178, 161, 115, 170]),
        (
            BILINEAR,
            (9, 8),
            &[
                0, 32, 102, 157, 110, 121, 173, 181, 118, 43, 77, 99, 119, 161, 174, 166, 163, 177, 107, 132, 95,
                75, 220, 236, 159, 145, 247, 194, 115, 100, 135, 159, 177, 193, 200, 197, 215, 139, 126, 146, 111,
                132, 195, 214, 160, 169, 202, 173, 109, 76, 100, 166, 188, 136, 146, 192, 165, 94, 64, 92, 160,
                185, 136, 132, 180, 155, 86, 58, 88, 158, 185, 138,
            ],
        ),
        (
            BILINEAR,
            (7, 3),
            &[42, 93, 107, 160, 176, 157, 175, 190, 108, 128, 137, 163, 206, 181, 146, 215, 103, 64, 99, 209, 136],
        ),
        (
            BILINEAR,
            (4, 5),
            &[29, 129, 138, 159, 118, 106, 208, 180, 151, 136, 167, 206, 190, 125, 116, 165, 161, 106, 108, 166],
        ),
        (BILINEAR, (1, 1), &[144]),
        (BICUBIC, (3, 2), &[95, 152, 181, 166, 108, 172]),
        (
            BICUBIC,
            (9, 8),
            &[
                0, 15, 108, 175, 102, 104, 184, 192, 104, 30, 74, 100, 114, 161, 175, 162, 158, 174, 103, 145, 88,
                52, 226, 255, 145, 128, 255, 215, 103, 81, 144, 163, 181, 200, 206, 199, 236, 126, 116, 165, 106,
                120, 211, 232, 151, 165, 213, 184, 102, 74, 92, 173, 195, 131, 137, 206, 178, 83, 61, 82, 166,
                191, 131, 127, 187, 162, 79, 57, 80, 167, 193, 135,
            ],
        ),
        (
            BICUBIC,
            (7, 3),
            &[39, 89, 107, 163, 179, 155, 177, 198, 109, 127, 142, 168, 205, 186, 147, 217, 105, 59, 95, 213, 133],
        ),
        (
            BICUBIC,
            (4, 5),
            &[23, 132, 139, 162, 116, 106, 212, 176, 150, 130, 168, 211, 196, 121, 111, 170, 167, 101, 103, 172],
        ),
        (BICUBIC, (1, 1), &[144]),
    ];

    proptest! {
        #[test]
        fn a_window_is_what_is_cut_out_of_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 3 * 13 * 9),
            size in (1usize..30, 1usize..30),
            cut in (0usize..30, 0usize..30),
        ) {
            let (width, height) = size;
            let (left, top) = (cut.0 % width, cut.1 % height);
            let mut whole = vec![0; 3 * width * height];
            let (across, down) = (Side::all(13, width), Side::all(9, height));
            resize::<3>((&bytes, 39), across, down, BICUBIC, (&mut whole, 3 * width));
            let (columns, rows) = (width - left, height - top);
            let mut part = vec![0; 3 * columns * rows];
            let across = Side { first: left, count: columns, ..across };
            let down = Side { first: top, count: rows, ..down };
            resize::<3>((&bytes, 39), across, down, BICUBIC, (&mut part, 3 * columns));
            for row in 0..rows {
                let right = &whole[3 * ((top + row) * width + left)..][..3 * columns];
                prop_assert_eq!(&part[3 * columns * row..][..3 * columns], right);
            }
        }

        #[test]
        fn what_is_of_one_colour_stays_so(colour in any::<u8>(), size in (1usize..40, 1usize..40)) {
            for filter in [BOX, BILINEAR, BICUBIC] {
                prop_assert!(gray(&[colour; 11 * 6], 11, size, filter).iter().all(|&x| x == colour));
            }
        }
    }
}
