//! The form of the keys that the gateway makes: `tg_`, 256 random bits, a checksum.
//!
//! `tg_` and the fixed length let secret scanners find a leaked key; the checksum (CRC-32 of everything before it) tells
//! them, and the gateway, a key from a typo without looking it up anywhere. The checksum is no secret and proves
//! nothing: a key is good because its digest is known. Keys that operators made themselves, which the configuration file
//! knows by digest, have any form.

/// How every key begins.
const PREFIX: &str = "tg_";
/// Digits of 256 bits in base 62.
const SECRET_DIGITS: usize = 43;
/// Digits of 32 bits in base 62.
const CHECKSUM_DIGITS: usize = 6;
/// The length of every key.
const LENGTH: usize = PREFIX.len() + SECRET_DIGITS + CHECKSUM_DIGITS;
/// How much of a key may be shown: it names the key, and 208 bits stay unknown.
const SHOWN: usize = PREFIX.len() + 8;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether a key is of the form that [`make`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It is, and its checksum is right: a store may know it.
    Made,
    /// It is not: a typo, or a key that an operator made.
    Other,
}

/// The key of these random bits.
pub fn make(random: &[u8; 32]) -> String {
    let mut key = String::with_capacity(LENGTH);
    key.push_str(PREFIX);
    push_digits(&mut key, *random, SECRET_DIGITS);
    let checksum = checksum(key.as_bytes());
    push_digits(&mut key, checksum, CHECKSUM_DIGITS);
    key
}

/// The form of a key that somebody presents.
pub fn form(key: &[u8]) -> Form {
    if key.len() != LENGTH || !key.starts_with(PREFIX.as_bytes()) {
        return Form::Other;
    }
    let (checked, written) = key.split_at(LENGTH - CHECKSUM_DIGITS);
    let mut expected = String::with_capacity(CHECKSUM_DIGITS);
    push_digits(&mut expected, checksum(checked), CHECKSUM_DIGITS);
    if expected.as_bytes() == written { Form::Made } else { Form::Other }
}

/// The beginning of a key that may be shown to operators.
pub fn shown(key: &str) -> &str {
    key.get(..SHOWN).unwrap_or_default()
}

/// In the width of the random part, so that both are written by the same digits.
fn checksum(of: &[u8]) -> [u8; 32] {
    let mut wide = [0; 32];
    wide[28..].copy_from_slice(&crc32fast::hash(of).to_be_bytes());
    wide
}

/// Writes a big-endian number with this many digits, which must be enough for it.
fn push_digits(text: &mut String, mut number: [u8; 32], count: usize) {
    let mut digits = [0; SECRET_DIGITS];
    for digit in digits[..count].iter_mut().rev() {
        let mut rest = 0_u16;
        for byte in &mut number {
            let value = (rest << 8) | u16::from(*byte);
            // Below 256: the remainder before it was below 62.
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *digit = DIGITS[usize::from(rest)];
    }
    text.extend(digits[..count].iter().map(|&digit| char::from(digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_prefix_digits_and_checksum() {
        // Computed by another program.
        for (random, expected) in [
            ([0; 32], "tg_00000000000000000000000000000000000000000003L6u1e"),
            ([255; 32], "tg_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp10Xwm86"),
        ] {
            assert_eq!(make(&random), expected);
            assert_eq!(form(expected.as_bytes()), Form::Made, "{expected}");
        }
        assert_ne!(make(&[1; 32]), make(&[2; 32]));
    }

    #[test]
    fn every_typo_in_one_character_is_noticed() {
        let key = make(&std::array::from_fn(|index| index as u8 * 7));
        for at in 0..key.len() {
            for other in [b'0', b'a', b'Z', b'-', 0xff] {
                let mut typo = key.clone().into_bytes();
                if typo[at] != other {
                    typo[at] = other;
                    assert_eq!(form(&typo), Form::Other, "{other} at {at}");
                }
            }
        }
        let swapped = |at: usize| {
            let mut typo = key.clone().into_bytes();
            typo.swap(at, at + 1);
            typo
        };
        for at in (0..key.len() - 1).filter(|at| key.as_bytes()[*at] != key.as_bytes()[at + 1]) {
            assert_eq!(form(&swapped(at)), Form::Other, "swapped at {at}");
        }
    }

    #[test]
    fn other_lengths_and_beginnings_are_no_keys_of_ours() {
        let key = make(&[9; 32]);
        for other in ["", "tg_", "alice", &key[1..], &key[..51], &format!("{key}0"), &format!("xx_{}", &key[3..])] {
            assert_eq!(form(other.as_bytes()), Form::Other, "{other}");
        }
        assert_eq!((shown(&key), shown("tg_")), (&key[..11], ""));
    }
}
