//! How a report looks, and that places are found in every layout of YAML.

use proptest::prelude::*;

use super::*;

const NAME: &str = "conf/tollgate.yaml";

fn sources(text: &str) -> Sources {
    let mut sources = Sources::default();
    sources.add(NAME.to_owned(), text.to_owned());
    sources
}

/// Line and column of a place, and the text that is pointed at.
fn pointed_at(text: &str, place: Place, on: On) -> (usize, usize, &str) {
    let sources = sources(text);
    let spot = Locator::new(&sources).find(0, &place, on);
    let (line, column) = sources.file(0).unwrap().line_column(spot.bytes.start);
    (line, column, &text[spot.bytes])
}

fn at(path: &[&str]) -> Place {
    path.iter().fold(Place::root(), |place, step| match step.parse() {
        Ok(index) => place.index(index),
        Err(_) => place.key(*step),
    })
}

#[test]
fn a_problem_is_drawn_at_its_value() {
    let text = "services: {}\nroutes:\n  - name: a\n    service: usres\n";
    let mut report = Report::default();
    report
        .error(at(&["routes", "0", "service"]), "unknown service `usres`")
        .help(suggest("usres", ["shops", "orders"].into_iter()));
    report.warning(at(&["services"]), "no service").on_key();
    let sources = sources(text);
    let expected = "\
warning: no service
 --> conf/tollgate.yaml:1:1
  |
1 | services: {}
  | ^^^^^^^^

error: unknown service `usres`
 --> conf/tollgate.yaml:4:14
  |
4 |     service: usres
  |              ^^^^^ defined: shops, orders
";
    assert_eq!(report.render(&sources, Color::Never), expected);
    assert!(report.render(&sources, Color::Always).contains("\u{1b}["));
    assert_eq!(
        report.to_json(&sources)[1],
        serde_json::json!({
            "severity": "error", "file": NAME, "line": 4, "column": 14, "path": "routes[0].service",
            "message": "unknown service `usres`", "help": "defined: shops, orders",
        })
    );
    assert!(report.has_errors());
}

#[test]
fn a_warning_is_no_error() {
    let mut report = Report::default();
    report.warning(Place::root(), "odd");
    assert!(!report.has_errors());
}

#[test]
fn every_layout_is_found() {
    use On::{Key, Value};
    for (text, path, on, expected) in [
        ("a: 1\nb: two\n", &["b"][..], Value, (2, 4, "two")),
        ("a: 1\nb: two\n", &["b"], Key, (2, 1, "b")),
        ("a:\n  - x\n  - y: 1\n", &["a", "1"], Value, (3, 5, "y")),
        ("a:\n  - x\n  - y: 1\n", &["a", "1", "y"], Value, (3, 8, "1")),
        ("a:\n  - x\n", &["a"], Value, (2, 3, "-")),
        ("a: {b: [1, 'two words']}\n", &["a", "b", "1"], Value, (1, 12, "'two words'")),
        ("a: {b: [1, 2]} # c\n", &["a"], Value, (1, 4, "{b: [1, 2]}")),
        ("a: {b: [1, 2]} # c\n", &["a", "b"], Value, (1, 8, "[1, 2]")),
        ("a:\n  b:\n    c: 1\n", &["a"], Value, (2, 3, "b")),
        ("a:\nb: 1\n", &["a"], Value, (1, 1, "a")),
        ("a: word   # why\n", &["a"], Value, (1, 4, "word")),
        ("404: x\n\"b c\": y\ntrue: z\n", &["b c"], Value, (2, 8, "y")),
        ("true: z\n", &["true"], Value, (1, 7, "z")),
        ("a: &x {b: 1}\nc: *x\n", &["c"], Value, (2, 4, "*x")),
        ("a: &x {b: 1}\nc: *x\n", &["c", "b"], Value, (1, 11, "1")),
        ("a: &x\n  b: 1\nc:\n  <<: *x\n  d: 2\n", &["c", "b"], Value, (2, 6, "1")),
        ("a: &x\n  b: 1\nc:\n  <<: [*x]\n", &["c", "b"], Key, (2, 3, "b")),
        // What is not there: the nearest that is.
        ("a: 1\n", &["z"], Value, (1, 1, "a")),
        ("a:\n  b: 1\n", &["a", "z", "y"], Key, (2, 3, "b")),
        ("a: {}\n", &["a", "z"], Value, (1, 4, "{}")),
        // Characters that are not one byte, and other ends of lines.
        ("größe: {日本: ü, b: c}\n", &["größe", "b"], Value, (1, 19, "c")),
        ("größe: {日本: ü, b: c}\n", &["größe", "日本"], Value, (1, 13, "ü")),
        ("a: 1\r\nb:\r\n  c: two\r\n", &["b", "c"], Value, (3, 6, "two")),
        ("a:\t1\nb: \t two\n", &["b"], Value, (2, 6, "two")),
        ("a: {b:\t1}\n", &["a", "b"], Value, (1, 8, "1")),
        ("a: 😀\nb: x", &["b"], Value, (2, 4, "x")),
    ] {
        assert_eq!(pointed_at(text, at(path), on), expected, "{text:?} {path:?}");
    }
}

#[test]
fn numbers_as_keys_are_found() {
    let place = Place::root().key("404").key("x");
    assert_eq!(pointed_at("404: {x: y}\n", place, On::Value), (1, 10, "y"));
}

#[test]
fn a_long_file_with_wide_characters_is_counted_right() {
    let text = format!("{}b: two\n", "# é\n".repeat(5000));
    assert_eq!(pointed_at(&text, at(&["b"]), On::Value), (5001, 4, "two"));
}

#[test]
fn what_spans_lines_is_underlined_on_its_first() {
    let text = "a: [1,\n  2]\nb: |\n  long\n  text\n";
    let mut report = Report::default();
    report.error(at(&["a"]), "one");
    report.error(at(&["b"]), "two");
    let expected = "\
error: one
 --> conf/tollgate.yaml:1:4
  |
1 | a: [1,
  |    ^^^

error: two
 --> conf/tollgate.yaml:4:3
  |
4 |   long
  |   ^^^^
";
    assert_eq!(report.render(&sources(text), Color::Never), expected);
}

#[test]
fn a_word_is_suggested_only_when_it_is_near() {
    for (word, defined, expected) in [
        ("usres", &["orders", "users"][..], "did you mean `users`?"),
        ("colour", &["color"], "did you mean `color`?"),
        ("x", &["orders", "users"], "defined: orders, users"),
        ("id", &["ip"], "defined: ip"),
        ("x", &[], "none is defined"),
    ] {
        assert_eq!(suggest(word, defined.iter().copied()), expected);
    }
    let many: Vec<String> = (0..20).map(|number| format!("service-{number}")).collect();
    assert!(suggest("x", many.iter().map(String::as_str)).ends_with("service-11 and 8 more"));
}

#[test]
fn a_text_that_cannot_be_marked_is_reported_at_its_beginning() {
    let mut report = Report::default();
    report.error(at(&["a", "b"]), "wrong");
    let found = report.render(&sources("a: [\n"), Color::Never);
    assert!(found.starts_with("error: wrong\n --> conf/tollgate.yaml:1:1\n"), "{found}");
}

#[test]
fn the_nearest_word_is_suggested_or_none() {
    for (word, candidates, nearest) in [
        ("usres", &["orders", "users", "user"][..], Some("users")),
        ("user-route123x", &["user-route12", "user-route124x", "user-route123"], Some("user-route124x")),
        ("listners", &["listeners", "limits"], Some("listeners")),
        ("tow", &["two", "toe"], Some("two")),
        ("GET", &["GIT", "GET"], Some("GET")),
        ("größe", &["grösse", "größen"], Some("größen")),
        ("cba", &["éba"], Some("éba")),
        ("qqqq", &["users", "orders"], None),
        ("ab", &["cd", "a"], None),
        ("x", &[], None),
    ] {
        assert_eq!(super::nearest(word, candidates), nearest, "{word}");
    }
}

proptest! {
    #[test]
    fn a_suggestion_is_as_near_as_any(word in "[a-cé]{0,7}", candidates in prop::collection::vec("[a-cé]{0,7}", 0..8)) {
        let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
        let fits = |candidate: &&str| {
            let distance = strsim::osa_distance(&word, candidate);
            (distance * 3 <= word.chars().count().max(candidate.chars().count())).then_some(distance)
        };
        let least = candidates.iter().filter_map(fits).min();
        prop_assert_eq!(super::nearest(&word, &candidates).and_then(|nearest| fits(&nearest)), least);
    }
}
