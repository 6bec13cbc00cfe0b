//! Owns how one field of a text becomes a finite 32-bit float, fast for the short decimals that data is made of.

/// Why a field is no feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotANumber {
    /// Not in a number's form.
    Malformed,
    /// NaN or infinity, spelt out.
    NotFinite,
    /// Finite as written, infinite as a 32-bit float.
    Overflow,
}

/// Powers of ten that a 32-bit float holds exactly.
const TENS: [f32; 8] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

/// As many digits as surely fit the 24-bit significand.
const EXACT_DIGITS: usize = 7;

/// The nearest 32-bit float to the number that the field spells, whatever spaces surround it.
///
/// Takes what Rust's `f32::from_str` takes (`5`, `-0.25`, `.5`, `5.`, `+1e-3`), except NaN and the infinities.
#[inline]
pub(super) fn number(field: &[u8]) -> Result<f32, NotANumber> {
    match simple(field) {
        Some(value) => Ok(value),
        None => general(field),
    }
}

/// Digits with at most one point and a minus, all exact: significand and power of ten are both representable, so
/// the one division rounds correctly. `None` leaves the field to the general way.
#[inline]
fn simple(field: &[u8]) -> Option<f32> {
    let (negative, digits) = match field {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.len() > EXACT_DIGITS + 1 {
        return None;
    }
    let (mut significand, mut count, mut point) = (0u32, 0, None);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            significand = significand * 10 + u32::from(digit);
            count += 1;
        } else if byte == b'.' && point.is_none() {
            point = Some(count);
        } else {
            return None;
        }
    }
    if count == 0 || count > EXACT_DIGITS {
        return None;
    }
    let magnitude = match point {
        Some(before) => significand as f32 / TENS.get(count - before)?,
        None => significand as f32,
    };
    Some(if negative { -magnitude } else { magnitude })
}

#[cold]
fn general(field: &[u8]) -> Result<f32, NotANumber> {
    let text = std::str::from_utf8(field.trim_ascii()).map_err(|_| NotANumber::Malformed)?;
    let value: f32 = text.parse().map_err(|_| NotANumber::Malformed)?;
    if value.is_finite() {
        Ok(value)
    } else if text.bytes().any(|byte| byte.is_ascii_digit()) {
        Err(NotANumber::Overflow)
    } else {
        Err(NotANumber::NotFinite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, value) in [
            ("5", 5.0),
            ("255", 255.0),
            ("-3", -3.0),
            ("0.1", 0.1),
            (" 7 ", 7.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("+1e-3", 1e-3),
            ("16777217", 16777216.0),
            ("-123.4567", -123.4567),
            ("3.4028235e38", f32::MAX),
        ] {
            assert_eq!(number(text.as_bytes()), Ok(value), "{text}");
        }
        assert!(number(b"-0").unwrap().is_sign_negative());
    }

    #[test]
    fn says_why_a_field_is_no_number() {
        for text in ["", " ", "-", ".", "-.", "1.2.3", "1,5", "0x10", "1_000", "x", "1 2", "--1", "1e", "\u{663}"]
        {
            assert_eq!(number(text.as_bytes()), Err(NotANumber::Malformed), "{text:?}");
        }
        for text in ["NaN", "nan", "inf", "-Infinity", "+inf"] {
            assert_eq!(number(text.as_bytes()), Err(NotANumber::NotFinite), "{text}");
        }
        for text in ["1e39", "-1e39", "999999999999999999999999999999999999999999"] {
            assert_eq!(number(text.as_bytes()), Err(NotANumber::Overflow), "{text}");
        }
        assert_eq!(number(b"\xff1"), Err(NotANumber::Malformed));
    }

    proptest! {
        #[test]
        fn the_fast_way_agrees_with_the_standard_library(text in "-?[0-9]{0,8}(\\.[0-9]{0,8})?") {
            let expected = text.parse::<f32>().ok().map(f32::to_bits);
            prop_assert_eq!(number(text.as_bytes()).ok().map(f32::to_bits), expected);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            if let Ok(value) = number(&bytes) {
                prop_assert!(value.is_finite());
            }
        }
    }
}
