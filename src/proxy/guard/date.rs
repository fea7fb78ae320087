//! The `Date` of an answer that is older than its request.
//!
//! pingora writes the current date into every header of HTTP/1, and nothing above it can say otherwise. The date of a
//! stored reply is part of it (RFC 9110 section 6.6.1: when it was made), so it is put back where the bytes pass: all
//! dates of HTTP have the same length.

/// How long a date is.
const LENGTH: usize = 29;

const FIELD: &[u8] = b"\r\nDate: ";

/// A date as HTTP writes it.
pub type Date = [u8; LENGTH];

/// Reads a date, where it has the form of one.
pub fn of(value: &[u8]) -> Option<Date> {
    value.try_into().ok().filter(|date: &Date| date.ends_with(b" GMT"))
}

/// A date on its way into the bytes of a header.
#[derive(Debug)]
pub struct Dating {
    date: Date,
    /// Where its value begins in the bytes that are written next; before them, where a part is written already.
    at: Option<isize>,
}

impl Dating {
    /// Puts this date into the header that is written next.
    pub fn new(date: Date) -> Self {
        Self { date, at: None }
    }

    /// The bytes to write instead. `None`: they have no date.
    pub fn dated(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let at = match self.at {
            Some(at) => at,
            None => isize::try_from(memchr::memmem::find(bytes, FIELD)? + FIELD.len()).ok()?,
        };
        self.at = Some(at);
        let mut dated = bytes.to_vec();
        for (offset, byte) in self.date.iter().enumerate() {
            let place = usize::try_from(at + offset as isize).ok();
            if let Some(place) = place.and_then(|place| dated.get_mut(place)) {
                *place = *byte;
            }
        }
        Some(dated)
    }

    /// So many of them were written. Whether the date is among them, to its end.
    pub fn written(&mut self, count: usize) -> bool {
        let Some(at) = self.at.as_mut() else { return true };
        *at -= count as isize;
        *at + LENGTH as isize <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"Mon, 06 Jan 2025 00:00:00 GMT";
    const NEW: &str = "Sat, 21 Nov 2026 18:09:31 GMT";

    #[test]
    fn the_date_is_put_back_however_few_bytes_are_written_at_once() {
        let header = format!("HTTP/1.1 200 OK\r\nAge: 3\r\nDate: {NEW}\r\nConnection: keep-alive\r\n\r\n");
        let expected = header.replace(NEW, std::str::from_utf8(OLD).unwrap());
        for step in [1, 7, 29, 40, 1000] {
            let mut dating = Some(Dating::new(of(OLD).unwrap()));
            let (mut rest, mut sent) = (header.as_bytes(), Vec::new());
            while !rest.is_empty() {
                let dated = dating.as_mut().and_then(|dating| dating.dated(rest));
                let bytes = dated.as_deref().unwrap_or(rest);
                let count = step.min(bytes.len());
                sent.extend_from_slice(&bytes[..count]);
                rest = &rest[count..];
                if dating.as_mut().is_some_and(|dating| dating.written(count)) {
                    dating = None;
                }
            }
            assert_eq!(String::from_utf8(sent).unwrap(), expected, "{step}");
            assert!(dating.is_none());
        }
    }

    #[test]
    fn only_a_whole_date_is_one() {
        for (value, is_one) in [(OLD, true), (b"0", false), (b"Mon, 06 Jan 2025 00:00:00 UTC", false), (b"", false)] {
            assert_eq!(of(value).is_some(), is_one);
        }
        assert_eq!(Dating::new(of(OLD).unwrap()).dated(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
