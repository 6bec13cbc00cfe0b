//! Owns the quick way through a row of small integers; what it does not know is left to the general way.

/// Reads `count` integers from 0 to 255, of at most three digits and a separator after each, and adds them to `to`.
///
/// The rest of the line; `None` if it does not begin so, and then nothing is added.
pub(super) fn small_integers<'t>(
    line: &'t [u8],
    separator: u8,
    count: usize,
    to: &mut Vec<u8>,
) -> Option<&'t [u8]> {
    // Each takes two bytes at least: so a short line costs nothing.
    if line.len() / 2 < count {
        return None;
    }
    let before = to.len();
    to.resize(before + count, 0);
    let rest = read(line, separator, &mut to[before..]);
    if rest.is_none() {
        to.truncate(before);
    }
    rest
}

/// Fills `to`, which is zeros before.
fn read<'t>(line: &'t [u8], separator: u8, to: &mut [u8]) -> Option<&'t [u8]> {
    let zeros = [b'0', separator, b'0', separator, b'0', separator, b'0', separator];
    let digit = |byte: u8| byte.is_ascii_digit().then_some(u32::from(byte & 15));
    let mut rest = line;
    let mut next = 0;
    while next < to.len() {
        // Most of what a picture consists of.
        if let Some((eight, after)) = rest.split_first_chunk()
            && *eight == zeros
            && next + 4 <= to.len()
        {
            rest = after;
            next += 4;
            continue;
        }
        let (value, after) = match *rest {
            [a, end, ref after @ ..] if end == separator => (digit(a)?, after),
            [a, b, end, ref after @ ..] if end == separator => (digit(a)? * 10 + digit(b)?, after),
            [a, b, c, end, ref after @ ..] if end == separator => {
                (digit(a)? * 100 + digit(b)? * 10 + digit(c)?, after)
            }
            _ => return None,
        };
        *to.get_mut(next)? = u8::try_from(value).ok()?;
        rest = after;
        next += 1;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_are_read_up_to_the_rest() {
        let mut to = vec![9];
        let rest = small_integers(b"0,0,0,0,0,7,42,255,007,0,A,B", b',', 10, &mut to);
        assert_eq!(rest, Some(&b"A,B"[..]));
        assert_eq!(to, [9, 0, 0, 0, 0, 0, 7, 42, 255, 7, 0]);
        let rest = small_integers(b"0;0;0;0;", b';', 3, &mut to);
        assert_eq!(rest, Some(&b"0;"[..]));
        assert_eq!(to.len(), 14);
    }

    #[test]
    fn all_else_is_left_alone() {
        for line in
            ["256,1,", "1,-0,", "1,2", "1, 2,", "\"1\",2,", "1,,", ",1,", "1;2;", "1.5,2,", "0001,2,", "", ":,1,"]
        {
            let mut to = vec![9];
            assert_eq!(small_integers(line.as_bytes(), b',', 2, &mut to), None, "{line}");
            assert_eq!(to, [9]);
        }
        assert_eq!(small_integers(b"1,2,", b',', usize::MAX, &mut Vec::new()), None);
    }
}
