//! Forms as tables: what is declared, what a client sends, what the service gets or which rules are broken.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::policy::contract::form::FormField;
use crate::policy::contract::tests::{outcome, written};
use crate::policy::contract::{Position, TextParameter};

const BOUNDARY: &str = "fresh";

/// A size as the configuration has it, as far as the tests need it.
fn size(written: &serde_json::Value) -> Result<u64, String> {
    written.to_string().parse().map_err(|_| "must be a size".to_owned())
}

fn form(parameters: &str, undeclared: Undeclared) -> FormContract {
    let written = written(parameters);
    let fields = written.iter().map(|one| {
        let declared = one.declared();
        if FileParameter::is_declared(declared.schema) {
            return FormField::File(FileParameter::compile(declared, &size).unwrap_or_else(|f| panic!("{f:?}")));
        }
        let text = TextParameter::compile(Position::Form, declared);
        FormField::Text(Box::new(text.unwrap_or_else(|f| panic!("{f:?}"))))
    });
    FormContract::with_files(fields.collect(), undeclared)
}

/// One part, as a client means it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Meant {
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
    content: Vec<u8>,
}

/// `name=text`, `name@file name=content`, each with `;type` before the last `=` where the part has one.
fn meant(text: &str) -> Meant {
    let (head, content) = text.rsplit_once('=').unwrap();
    let (head, content_type) = head.split_once(';').map_or((head, None), |(head, kind)| (head, Some(kind.to_owned())));
    let (name, file_name) = head.split_once('@').map_or((head, None), |(name, file)| (name, Some(file.to_owned())));
    Meant { name: name.to_owned(), file_name, content_type, content: content.as_bytes().to_vec() }
}

/// The parts as a client writes them.
fn body(parts: &[Meant], boundary: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    for Meant { name, file_name, content_type, content } in parts {
        let mut head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"", quoted(name));
        if let Some(file_name) = file_name {
            head.push_str(&format!("; filename=\"{}\"", quoted(file_name)));
        }
        if let Some(content_type) = content_type {
            head.push_str(&format!("\r\ncontent-type: {content_type}"));
        }
        out.extend_from_slice(format!("{head}\r\n\r\n").as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

/// What a service reads: a reader of its own that knows only how we write.
fn read(body: &[u8]) -> Vec<Meant> {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect(); // a byte is a character
    let body = text.strip_suffix(&format!("--{BOUNDARY}--\r\n")).expect("the last boundary");
    let unquoted = |text: &str| -> String {
        let bytes = text.replace("\\\"", "\"").replace("\\\\", "\\").chars().map(|char| char as u8).collect();
        String::from_utf8(bytes).unwrap()
    };
    let one = |part: &str| {
        let (head, content) = part.split_once("\r\n\r\n").unwrap();
        let (disposition, kind) = head.split_once("\r\n").map_or((head, None), |(first, rest)| (first, Some(rest)));
        let names = disposition.strip_prefix("Content-Disposition: form-data; name=\"").unwrap();
        let (name, file_name) = match names.split_once("\"; filename=\"") {
            Some((name, file_name)) => (name, Some(file_name.strip_suffix('"').unwrap())),
            None => (names.strip_suffix('"').unwrap(), None),
        };
        Meant {
            name: unquoted(name),
            file_name: file_name.map(unquoted),
            content_type: kind.map(|kind| kind.strip_prefix("Content-Type: ").unwrap().to_owned()),
            content: content.strip_suffix("\r\n").unwrap().chars().map(|char| char as u8).collect(),
        }
    };
    body.split(&format!("--{BOUNDARY}\r\n")).skip(1).map(one).collect()
}

/// The parts that the service gets, or the violations; a fault is a panic.
fn pass(form: &FormContract, body: &[u8], boundary: &str, piece: usize) -> Result<Vec<Meant>, Violations> {
    let mut incoming = IncomingForm::new(form, &Boundary::parse(boundary).unwrap());
    let mut stored = Vec::new();
    for piece in body.chunks(piece.max(1)) {
        incoming.feed(piece);
        while let Some(bytes) = incoming.next_to_store() {
            stored.extend_from_slice(&bytes);
        }
    }
    let mut violations = Violations::new();
    let received = incoming.finish().unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(body)));
    let rebuilt = form.check_form(received, BOUNDARY, &mut violations);
    if !violations.is_empty() {
        assert!(rebuilt.is_none(), "something is sent in spite of a violation");
        return Err(violations);
    }
    let Some(rebuilt) = rebuilt else { return Ok(Vec::new()) };
    assert_eq!(rebuilt.content_type, "multipart/form-data; boundary=fresh");
    let mut whole = Vec::new();
    for piece in rebuilt.pieces {
        match piece {
            Piece::Bytes(bytes) => whole.extend_from_slice(&bytes),
            Piece::Stored { at, length } => whole.extend_from_slice(&stored[at as usize..(at + length) as usize]),
        }
    }
    assert_eq!(whole.len() as u64, rebuilt.length);
    Ok(read(&whole))
}

/// `name=text, name@file;type=content`, or `! body.name missing`.
fn sent(parameters: &str, undeclared: Undeclared, parts: &[&str]) -> String {
    let parts: Vec<Meant> = parts.iter().map(|part| meant(part)).collect();
    let shown = |part: &Meant| {
        let file = part.file_name.as_ref().map_or(String::new(), |file| format!("@{file}"));
        let kind = part.content_type.as_ref().map_or(String::new(), |kind| format!(";{kind}"));
        format!("{}{file}{kind}={}", part.name, String::from_utf8_lossy(&part.content))
    };
    match pass(&form(parameters, undeclared), &body(&parts, "client"), "client", 7) {
        Ok(parts) => parts.iter().map(shown).collect::<Vec<_>>().join(", "),
        Err(violations) => outcome("", &violations),
    }
}

use Undeclared::{Drop, Forward, Reject};

#[test]
fn texts_are_those_of_an_urlencoded_form() {
    let fields = r#"{"n":{"type":"integer","maximum":9,"optional":true},"t":{"type":"string","maxLength":3,"optional":true},
        "on":{"type":"boolean","optional":true},"d":{"type":"string","default":"x"},
        "v":{"type":"array","items":{"type":"integer"},"maxItems":2,"uniqueItems":true,"optional":true}}"#;
    let rows: [(&[&str], &str); 20] = [
        (&[], "d=x"),
        (&["d=y", "n=5"], "d=y, n=5"),
        (&["n=1", "n=2"], "n=2, d=x"),
        (&["n=1", "n="], "d=x"),
        (&["n=-0"], "n=0, d=x"),
        (&["on=1"], "on=true, d=x"),
        (&["v=1", "t=a", "v=2"], "v=1, t=a, v=2, d=x"),
        (&["v=", "v=2"], "v=2, d=x"),
        (&["t=ü\u{1F600}"], "t=ü\u{1F600}, d=x"),
        (&["t;text/plain; charset=UTF-8=a"], "t;text/plain; charset=UTF-8=a, d=x"),
        (&["n=x", "on=x"], "! body.n int_parsing, body.on bool_parsing"),
        (&["n=10"], "! body.n less_than_equal"),
        (&["t=abcd"], "! body.t string_too_long"),
        (&["v=1", "v=x"], "! body.v.1 int_parsing"),
        (&["v=1", "v=1"], "! body.v unique_items"),
        (&["v=1", "v=2", "v=3"], "! body.v too_long"),
        (&["t;text/plain;charset=utf-16=a"], "! body.t string_unicode"),
        (&["t;nonsense=a"], "! body.t string_unicode"),
        (&["t@file=a"], "! body.t string_type"),
        (&["v=1", "v@file=2"], "! body.v.1 string_type"),
    ];
    for (parts, expected) in rows {
        assert_eq!(sent(fields, Drop, parts), expected, "{parts:?}");
    }
}

#[test]
fn files_are_checked_by_size_type_and_number() {
    let fields = r#"{"f":{"type":"file","max_size":4,"content_types":["image/png","text/*"],"optional":true},
        "v":{"type":"array","items":{"type":"file","max_size":2},"minItems":2,"maxItems":3,"optional":true}}"#;
    let rows: [(&[&str], &str); 20] = [
        (&["f@a.png;image/png=1234"], "f@a.png;image/png=1234"),
        (&["f@a.png;Image/PNG; q=1=1234"], "f@a.png;Image/PNG; q=1=1234"),
        (&["f@a.txt;text/csv=1"], "f@a.txt;text/csv=1"),
        (&["f@a.txt=1"], "f@a.txt=1"),
        (&["f@a.txt="], "f@a.txt="),
        (&["f@=1"], "f@=1"),
        (&["f@=", "v@=", "v="], ""),
        (&["f@a=1", "f@b=2"], "f@b=2"),
        (&["f@a=12345", "f@b=2"], "f@b=2"),
        (&["v@a=1", "f@f=2", "v@b=3"], "v@a=1, f@f=2, v@b=3"),
        (&["f@a=12345"], "! body.f file_too_large"),
        (&["f@a;image/gif=1"], "! body.f file_content_type"),
        (&["f@a;text=1"], "! body.f file_content_type"),
        (&["f@a;image/gif=12345"], "! body.f file_content_type, body.f file_too_large"),
        (&["f=1"], "! body.f file_type"),
        (&["v@a=1"], "! body.v too_short"),
        (&["v@a=1", "v@b=2", "v@c=3", "v@d=4"], "! body.v too_long"),
        (&["v@a=1", "v@b=222", "v=3"], "! body.v.1 file_too_large, body.v.2 file_type"),
        (&["f@a=1", "f@b=12345"], "! body.f file_too_large"),
        (&["f@a=1", "f="], ""),
    ];
    for (parts, expected) in rows {
        assert_eq!(sent(fields, Drop, parts), expected, "{parts:?}");
    }
    let required = r#"{"a":{"type":"file"},"t":{"type":"string"},"v":{"type":"array","items":{"type":"file"}}}"#;
    let missing = "! body.a missing, body.t missing, body.v missing";
    assert_eq!(sent(required, Drop, &[]), missing);
    assert_eq!(sent(required, Drop, &["a=", "t=", "v@="]), missing);
}

#[test]
fn undeclared_parts_are_dropped_refused_or_sent() {
    let fields = r#"{"a":{"type":"string"}}"#;
    let parts = ["x=1", "a=2", "y@f;image/png=3", "A=4", "_charset_=utf-16"];
    assert_eq!(sent(fields, Drop, &parts), "a=2");
    assert_eq!(sent(fields, Forward, &parts), "x=1, a=2, y@f;image/png=3, A=4");
    let extra =
        "body.x extra_forbidden, body.y extra_forbidden, body.A extra_forbidden, body._charset_ extra_forbidden";
    assert_eq!(sent(fields, Reject, &parts), format!("! {extra}"));
    assert_eq!(sent(fields, Reject, &["a=1"]), "a=1");
}

#[test]
fn what_cannot_be_sent_is_not_stored() {
    let fields = r#"{"f":{"type":"file","max_size":10,"content_types":["image/png"],"optional":true}}"#;
    let rows = [
        ("f@a;image/png=12345", Drop, 5),
        ("f@a;image/gif=12345", Drop, 0),
        ("f=12345", Drop, 0),
        ("x@a=12345", Drop, 0),
        ("x@a=12345", Reject, 0),
        ("x@a=12345", Forward, 5),
    ];
    for (part, undeclared, expected) in rows {
        let form = form(fields, undeclared);
        let mut incoming = IncomingForm::new(&form, &Boundary::parse("b").unwrap());
        incoming.feed(&body(&[meant(part)], "b"));
        let stored: usize = std::iter::from_fn(|| incoming.next_to_store()).map(|bytes| bytes.len()).sum();
        assert_eq!(stored, expected, "{part}");
    }
    let form = form(fields, Drop);
    let mut incoming = IncomingForm::new(&form, &Boundary::parse("b").unwrap());
    incoming.feed(b"--b\r\nContent-Disposition: form-data; name=f; filename=a\r\nContent-Type: image/png\r\n\r\n");
    let mut stored = 0;
    for _ in 0..1_000 {
        incoming.feed(b"0123456789");
        stored += std::iter::from_fn(|| incoming.next_to_store()).map(|bytes| bytes.len()).sum::<usize>();
        assert!(incoming.memory() < 2_000, "{} bytes are held", incoming.memory());
    }
    assert!(stored <= 10, "{stored} bytes were stored");
}

#[test]
fn thousands_of_parts_are_too_many() {
    let parts = |count| vec![meant("a=1"); count];
    let form = form(r#"{"a":{"type":"string","optional":true}}"#, Drop);
    assert_eq!(pass(&form, &body(&parts(MAX_PARTS), "b"), "b", 1_000).unwrap().len(), 1);
    let refused = pass(&form, &body(&parts(MAX_PARTS + 1), "b"), "b", 1_000).unwrap_err();
    assert_eq!(outcome("", &refused), "! body too_long");
    assert_eq!(outcome("", &pass(&form, &body(&parts(9_000), "b"), "b", 100).unwrap_err()), "! body too_long");
}

#[test]
fn a_body_that_is_no_form_says_why() {
    let form = form(r#"{"a":{"type":"string"}}"#, Drop);
    let rows = [
        ("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1", MultipartFault::Unfinished),
        ("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--bX\r\n", MultipartFault::Delimiter),
        ("--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--", MultipartFault::Disposition),
        ("a=1", MultipartFault::Unfinished),
        ("--c\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--c--", MultipartFault::Unfinished),
    ];
    for (body, expected) in rows {
        let mut incoming = IncomingForm::new(&form, &Boundary::parse("b").unwrap());
        incoming.feed(body.as_bytes());
        assert!(incoming.next_to_store().is_none());
        assert_eq!(incoming.finish().err(), Some(expected), "{body:?}");
    }
}

/// Compiled once: compiling costs a thousand times what checking does.
static FILES: LazyLock<FormContract> = LazyLock::new(|| {
    let fields = r#"{"t":{"type":"string","optional":true},"f":{"type":"file","optional":true},
        "w":{"type":"array","items":{"type":"file"},"optional":true}}"#;
    form(fields, Drop)
});
static TEXTS: LazyLock<FormContract> = LazyLock::new(|| {
    let fields = r#"{"n":{"type":"integer","maximum":100},"t":{"type":"string","maxLength":4,"optional":true},
        "on":{"type":"boolean","default":true},
        "v":{"type":"array","items":{"type":"integer","multipleOf":2},"maxItems":2,"uniqueItems":true,"optional":true}}"#;
    form(fields, Reject)
});
static FORWARDS: LazyLock<FormContract> =
    LazyLock::new(|| form(r#"{"a":{"type":"file","optional":true},"t":{"type":"string","optional":true}}"#, Forward));

/// A declared name or not, with or without a file; contents that look like delimiters.
fn part() -> impl Strategy<Value = Meant> {
    let name = prop_oneof!["n|t|v|f|w", "n|t|v|f|w", "[a-z]{0,3}", "[^\\x00-\\x1f\\x7f;]{0,4}"];
    let file_name = proptest::option::of("[^\\x00-\\x1f\\x7f;]{0,8}|[;= a-z]{0,6}");
    let content_type = proptest::option::of("image/png|text/plain|application/[a-z]{1,5}");
    let content = prop_oneof![
        "-?[0-9]{1,2}".prop_map(String::into_bytes),
        "(\r\n|--|b|fresh|[a-c])*".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..200),
    ];
    (name, file_name, content_type, content).prop_map(|(name, file_name, content_type, content)| Meant {
        name,
        file_name,
        content_type,
        content,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_parts_of_the_service_are_the_declared_ones_of_the_client(parts in vec(part(), 0..8), piece in 1usize..90) {
        let boundary = "b-of-the-client";
        let body = body(&parts, boundary);
        prop_assume!(parts.iter().all(|part| !part.content.windows(5).any(|bytes| bytes == b"fresh")));
        if let Ok(seen) = pass(&FILES, &body, boundary, piece) {
            let counts = |index: usize, part: &&Meant| {
                let last = parts.iter().rposition(|other| other.name == part.name) == Some(index);
                let empty = part.content.is_empty() && part.file_name.as_ref().is_none_or(String::is_empty);
                !empty && (part.name == "w" || last && (part.name == "t" || part.name == "f"))
            };
            let wanted: Vec<Meant> =
                parts.iter().enumerate().filter(|(index, part)| counts(*index, part)).map(|(_, part)| part.clone()).collect();
            prop_assert_eq!(seen, wanted);
        }
        // What is sent on undeclared is what was sent, too.
        let seen = pass(&form("{}", Forward), &body, boundary, piece).unwrap();
        prop_assert_eq!(seen, parts);
    }

    #[test]
    fn a_text_gets_the_verdict_of_an_urlencoded_one(
        pairs in vec(("n|t|v|on|x", "-?[0-9]{1,3}|[a-z ü&=%+]{0,5}|true|1|"), 0..6),
    ) {
        let encoded: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let mut violations = Violations::new();
        let urlencoded = TEXTS.check(encoded.as_bytes(), &mut violations);
        let parts: Vec<Meant> = pairs
            .iter()
            .map(|(name, text)| {
                Meant { name: name.clone(), file_name: None, content_type: None, content: text.as_bytes().to_vec() }
            })
            .collect();
        match pass(&TEXTS, &body(&parts, "b-of-the-client"), "b-of-the-client", 50) {
            Err(multipart) => {
                let rules = |of: &Violations| of.as_slice().iter().map(|v| (v.loc.clone(), v.kind)).collect::<Vec<_>>();
                prop_assert_eq!(rules(&multipart), rules(&violations));
            }
            Ok(parts) => {
                prop_assert!(violations.is_empty());
                let sorted = |mut pairs: Vec<(String, String)>| {
                    pairs.sort();
                    pairs
                };
                let text = |part: Meant| (part.name, String::from_utf8(part.content).unwrap());
                let urlencoded = urlencoded.unwrap_or_default();
                prop_assert_eq!(
                    sorted(parts.into_iter().map(text).collect()),
                    sorted(form_urlencoded::parse(&urlencoded).into_owned().collect()),
                );
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_hold_much(
        pieces in vec(prop_oneof![
            vec(any::<u8>(), 0..40),
            "\r\n|--b|--b--|--b\r\n|Content-Disposition: form-data; name=a|; filename=\"|\"|:|\r\n\r\n".prop_map(String::into_bytes),
        ], 0..60),
    ) {
        let mut incoming = IncomingForm::new(&FORWARDS, &Boundary::parse("b").unwrap());
        for piece in &pieces {
            incoming.feed(piece);
            while incoming.next_to_store().is_some() {}
        }
        let whole: usize = pieces.iter().map(Vec::len).sum();
        prop_assert!(incoming.memory() <= (2 * whole + 60 * 2 * PART_SIZE) as u64);
        if let Ok(received) = incoming.finish() {
            FORWARDS.check_form(received, BOUNDARY, &mut Violations::new());
        }
    }
}
