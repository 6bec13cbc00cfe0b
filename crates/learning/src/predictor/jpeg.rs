//! Owns a look at the parts of a JPEG file before it is decoded: whether it has its end, and how often it goes over the
//! picture. Decoders fill what is missing with grey, and let a small file go over a large picture thousands of times.

/// What a walk over a file's markers found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// Whether the end marker is there.
    pub ended: bool,
    /// How many scans there are.
    pub scans: usize,
}

const START_OF_SCAN: u8 = 0xDA;
const END: u8 = 0xD9;

/// Walks over the markers of a file that begins as a JPEG does.
pub(super) fn walk(bytes: &[u8]) -> Walk {
    let mut walk = Walk { ended: false, scans: 0 };
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            END => {
                walk.ended = true;
                break;
            }
            // Restarts and what has no length.
            0x01 | 0xD0..=0xD8 => after,
            _ => {
                walk.scans += usize::from(marker == START_OF_SCAN);
                let length = after.first_chunk().map_or(2, |&two| usize::from(u16::from_be_bytes(two)));
                after.get(length.max(2)..).unwrap_or_default()
            }
        };
    }
    walk
}

/// The next marker and what follows it; zeros after `FF` are data, further `FF` are padding.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(0xFF, bytes.get(from..)?)?;
        match *bytes.get(at + 1)? {
            0x00 => from = at + 2,
            0xFF => from = at + 1,
            marker => return Some((marker, bytes.get(at + 2..)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_passed_over_and_scans_counted() {
        let segment =
            [&[0xFF, 0xE1, 0, 6, 0xFF, 0xDA, 0xFF, 0xD9][..], &[0xFF, 0xDA, 0, 2, 9, 0xFF, 0, 7]].concat();
        let whole =
            [&[0xFF, 0xD8][..], &segment, &[0xFF, 0xD0, 5, 0xFF, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0xD9, 3]].concat();
        assert_eq!(walk(&whole), Walk { ended: true, scans: 2 });
        assert_eq!(walk(&whole[..whole.len() - 2]), Walk { ended: false, scans: 2 });
        for length in 0..whole.len() {
            walk(&whole[..length]);
        }
    }
}
