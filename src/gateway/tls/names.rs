//! Which certificates are for a name.

use std::collections::HashMap;

use smallvec::SmallVec;

/// Numbers of certificates. Several for one name differ in their kind of key.
type Numbers = SmallVec<[usize; 2]>;

/// Finds certificates by the name that a client asks for. An exact name beats `*.example.com`, which stands for exactly
/// one label.
#[derive(Debug, Default)]
pub struct Names {
    exact: HashMap<Box<str>, Numbers>,
    /// By what follows the asterisk and its dot.
    wildcard: HashMap<Box<str>, Numbers>,
}

impl Names {
    /// Of certificates in order, each with its names in lower case.
    pub fn of<'a>(certificates: impl Iterator<Item = &'a [Box<str>]>) -> Self {
        let mut names = Self::default();
        for (number, of_one) in certificates.enumerate() {
            for name in of_one {
                let (table, key) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut names.wildcard, rest),
                    None => (&mut names.exact, &**name),
                };
                table.entry(key.into()).or_default().push(number);
            }
        }
        names
    }

    /// The numbers of those that are for a name, however it is spelt; a dot at its end means nothing.
    pub fn find(&self, name: &str) -> Option<&[usize]> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let wildcard = || name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        self.exact.get(name.as_str()).or_else(wildcard).map(|numbers| &numbers[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_beats_a_wildcard_of_one_label() {
        let certificates: [&[Box<str>]; 4] = [
            &["api.example.com".into()],
            &["*.example.com".into(), "example.com".into()],
            &["shop.test".into()],
            &["shop.test".into()],
        ];
        let names = Names::of(certificates.into_iter());
        for (name, expected) in [
            ("api.example.com", Some(&[0][..])),
            ("API.Example.Com.", Some(&[0])),
            ("www.example.com", Some(&[1])),
            ("example.com", Some(&[1])),
            ("a.b.example.com", None),
            ("*.example.com", Some(&[1])),
            (".example.com", Some(&[1])),
            ("com", None),
            ("", None),
            ("shop.test", Some(&[2, 3])),
        ] {
            assert_eq!(names.find(name), expected, "{name}");
        }
    }
}
