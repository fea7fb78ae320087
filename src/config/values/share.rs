//! A share in percent.

use std::fmt;

use super::{Written, split_number, whole_number};

/// So many of a hundred, with up to four digits after the point: `10%`, `0.5%`.
///
/// Invariant: at most 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    millionths: u32,
}

impl Share {
    /// 100 %.
    pub const ALL: Self = Self { millionths: 1_000_000 };

    /// So many of a million.
    pub const fn millionths(self) -> u32 {
        self.millionths
    }
}

impl Written for Share {
    const EXPECTED: &'static str = "a share like `10%`";
    const DESCRIPTION: &'static str = "A share from `0%` to `100%`, with up to four digits after the point.";
    const PATTERN: &'static str = r"[0-9]+(\.[0-9]{1,4})?%";
    const EXAMPLES: &'static [&'static str] = &["100%", "10%", "0.5%"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (whole, rest) = split_number(text).ok_or(Self::EXPECTED)?;
        let fraction = rest.strip_suffix('%').ok_or(Self::EXPECTED)?;
        let fraction = match fraction.strip_prefix('.') {
            Some(digits) if digits.len() > 4 => return Err("a share with up to four digits after the point"),
            Some(digits) => whole_number(&format!("{digits:0<4}")).filter(|_| !digits.is_empty()),
            None => Some(0).filter(|_| fraction.is_empty()),
        };
        let fraction = fraction.ok_or(Self::EXPECTED)?;
        let millionths = whole.checked_mul(10_000).and_then(|whole| whole.checked_add(fraction));
        match millionths.and_then(|millionths| u32::try_from(millionths).ok()) {
            Some(millionths) if millionths <= Self::ALL.millionths => Ok(Self { millionths }),
            _ => Err("a share of at most `100%`"),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.millionths / 10_000, self.millionths % 10_000);
        if fraction == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{fraction:04}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}
