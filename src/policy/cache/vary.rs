//! Requests that a reply sets apart by its `Vary` (RFC 9111 section 4.1).

use http::HeaderMap;
use http::header::{HeaderName, VARY};

/// The names of a reply's `Vary`, sorted, each once. `*` is not among them: such a reply is not stored.
pub fn names(headers: &HeaderMap) -> Box<[HeaderName]> {
    let values = headers.get_all(VARY).iter();
    let listed = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let mut names: Vec<HeaderName> = listed.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    names.into()
}

/// Appends what a request says of these names. Two requests say the same exactly when the same bytes come out, but for the
/// lines that a field's members are spread over.
pub fn selecting(names: &[HeaderName], request: &HeaderMap, out: &mut impl Extend<u8>) {
    for name in names {
        let mut values = request.get_all(name).iter();
        match values.next() {
            None => out.extend([0]),
            Some(first) => {
                out.extend([1]);
                push(out, first.as_bytes());
                for value in values {
                    out.extend([b',']);
                    push(out, value.as_bytes());
                }
                // No value of a field has it.
                out.extend([b'\n']);
            }
        }
    }
}

/// A field's value without the space around its commas.
fn push(out: &mut impl Extend<u8>, value: &[u8]) {
    for (nth, member) in value.split(|&byte| byte == b',').enumerate() {
        if nth > 0 {
            out.extend([b',']);
        }
        out.extend(member.trim_ascii().iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    fn said(names: &[&'static str], lines: &[&str]) -> Vec<u8> {
        let names: Vec<HeaderName> = names.iter().map(|name| HeaderName::from_static(name)).collect();
        let mut out = Vec::new();
        selecting(&names, &fields(lines), &mut out);
        out
    }

    #[test]
    fn names_are_one_list_however_they_are_written() {
        for lines in [
            &["vary: Accept, accept-language"][..],
            &["vary: accept-language ,, ACCEPT"],
            &["vary: accept-language", "vary: accept, accept"],
        ] {
            assert_eq!(&*names(&fields(lines)), ["accept", "accept-language"], "{lines:?}");
        }
        assert!(names(&fields(&[])).is_empty());
    }

    #[test]
    fn requests_are_the_same_when_they_say_the_same() {
        let two = ["a", "b"];
        assert_eq!(said(&two, &["a: 1, 2", "b: x"]), said(&two, &["b: x", "a: 1", "a: 2"]));
        assert_eq!(said(&two, &["a: 1,2"]), said(&two, &["a: 1 ,  2"]));
        for (one, other) in [
            (&["a: 1"][..], &["b: 1"][..]),
            (&["a: 1"], &[]),
            (&["a: "], &[]),
            (&["a: 1", "b: 2"], &["a: 12"]),
            (&["a: 1, 2"], &["a: 2, 1"]),
            (&["a: x"], &["a: X"]),
        ] {
            assert_ne!(said(&two, one), said(&two, other), "{one:?} {other:?}");
        }
    }
}
