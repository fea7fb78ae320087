//! Where the frames of a WebSocket begin and end (RFC 6455 section 5.2), and nothing else of them.
//!
//! A frame can be put between two others only at a boundary. Payloads are counted, never looked at.

/// The frames of one direction, as their bytes pass.
#[derive(Debug)]
pub struct Frames {
    at: At,
    closed: bool,
}

#[derive(Debug)]
enum At {
    /// Within the header of the 101, of whose end so many bytes have come.
    Response(usize),
    /// Within the head of a frame, of which so many bytes have come.
    Head([u8; LONGEST_HEAD], usize),
    /// Within a payload, of which so many bytes are to come.
    Payload(u64),
}

/// Two bytes, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;

/// The end of a response's header.
const END: &[u8] = b"\r\n\r\n";

/// What ends a WebSocket.
const CLOSE: u8 = 0x88;

/// Going away (RFC 6455 section 7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// The last frame for a client.
pub const CLOSE_CLIENT: [u8; 4] = [CLOSE, 2, GOING_AWAY[0], GOING_AWAY[1]];

/// The last frame for a service. What comes from clients is masked; a constant needs no secret mask.
pub const CLOSE_SERVICE: [u8; 8] = [CLOSE, 0x80 | 2, 0, 0, 0, 0, GOING_AWAY[0], GOING_AWAY[1]];

impl Frames {
    /// Those of a service, which begin behind the header of its 101.
    pub fn after_response() -> Self {
        Self { at: At::Response(0), closed: false }
    }

    /// Those of a client.
    pub fn from_here() -> Self {
        Self { at: BOUNDARY, closed: false }
    }

    /// These bytes have passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            let taken = match &mut self.at {
                At::Response(matched) => {
                    *matched = if END[*matched] == byte { *matched + 1 } else { usize::from(byte == END[0]) };
                    if *matched == END.len() {
                        self.at = BOUNDARY;
                    }
                    1
                }
                At::Head(head, length) => {
                    head[*length] = byte;
                    *length += 1;
                    if let Some(payload) = payload(&head[..*length]) {
                        self.closed |= head[0] & 0x0F == CLOSE & 0x0F;
                        self.at = if payload == 0 { BOUNDARY } else { At::Payload(payload) };
                    }
                    1
                }
                At::Payload(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len() + 1);
                    *left -= here as u64;
                    if *left == 0 {
                        self.at = BOUNDARY;
                    }
                    here
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// Whether a close frame may follow: between two frames, the last of which was not one.
    pub fn may_close(&self) -> bool {
        !self.closed && matches!(self.at, At::Head(_, 0))
    }

    /// Whether a close frame has passed.
    pub fn closed(&self) -> bool {
        self.closed
    }
}

const BOUNDARY: At = At::Head([0; LONGEST_HEAD], 0);

/// The length of the payload behind a head that is whole.
fn payload(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (extended, short) = match second & 0x7F {
        126 => (2, 0),
        127 => (8, 0),
        short => (0, u64::from(short)),
    };
    let written = head.get(2..2 + extended)?;
    let length = written.iter().fold(short, |length, &byte| length << 8 | u64::from(byte));
    (head.len() >= 2 + extended + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload {
            0..126 => bytes.push(mask | payload as u8),
            126..65_536 => bytes.extend([&[mask | 126][..], &(payload as u16).to_be_bytes()].concat()),
            _ => bytes.extend([&[mask | 127][..], &(payload as u64).to_be_bytes()].concat()),
        }
        bytes.extend(std::iter::repeat_n(7, if masked { 4 } else { 0 }));
        // Looks like heads of close frames.
        bytes.extend(std::iter::repeat_n(0x88, payload));
        bytes
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_are_cut() {
        for masked in [false, true] {
            let frames: Vec<Vec<u8>> = [0, 1, 125, 126, 300, 65_535, 65_536, 70_000]
                .into_iter()
                .map(|payload| frame(0x82, masked, payload))
                .collect();
            for step in [1, 2, 3, 7, 4096, usize::MAX] {
                let mut passing = Frames::from_here();
                for bytes in &frames {
                    for piece in bytes.chunks(step.min(bytes.len())) {
                        passing.pass(piece);
                        let last = piece.as_ptr_range().end == bytes.as_ptr_range().end;
                        assert_eq!(passing.may_close(), last, "{} bytes in steps of {step}", bytes.len());
                    }
                }
                passing.pass(&frames.concat());
                assert!(passing.may_close() && !passing.closed());
                passing.pass(&frame(CLOSE, masked, 2));
                assert!(!passing.may_close() && passing.closed());
            }
        }
    }

    #[test]
    fn a_service_begins_with_the_header_of_its_answer() {
        for cut in 1..40 {
            let bytes = [&b"HTTP/1.1 101 Go\r\nx: \r\r\n\r\r\n\r\n"[..], &frame(0x81, false, 3)].concat();
            let mut passing = Frames::after_response();
            let cut = cut.min(bytes.len());
            passing.pass(&bytes[..cut]);
            passing.pass(&bytes[cut..]);
            assert!(passing.may_close(), "cut at {cut}");
        }
        let mut passing = Frames::after_response();
        passing.pass(b"HTTP/1.1 101 Switching Protocols\r\n");
        assert!(!passing.may_close());
    }

    #[test]
    fn the_last_frames_are_frames() {
        for last in [&CLOSE_CLIENT[..], &CLOSE_SERVICE] {
            let mut passing = Frames::from_here();
            passing.pass(last);
            assert!(passing.closed() && matches!(passing.at, At::Head(_, 0)));
        }
    }
}
