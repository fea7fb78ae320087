//! The rules of W3C Trace Context, as tables.

use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn said(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (TRACEPARENT, value.parse().unwrap())).collect()
}

#[test]
fn a_traceparent_is_taken_as_it_should_be_or_not_at_all() {
    let good = format!("00-{TRACE}-{SPAN}-01");
    let zeros = "0".repeat(32);
    for (value, taken) in [
        (good.clone(), true),
        (format!("00-{TRACE}-{SPAN}-00"), true),
        (format!("00-{TRACE}-{SPAN}-ff"), true),
        // Later versions: what version 00 knows of them, and whatever comes behind a hyphen.
        (format!("cc-{TRACE}-{SPAN}-01"), true),
        (format!("cc-{TRACE}-{SPAN}-01-what-the-future"), true),
        (format!("cc-{TRACE}-{SPAN}-01-"), true),
        (format!("cc-{TRACE}-{SPAN}-01.what"), false),
        (format!("cc-{TRACE}-{SPAN}-0"), false),
        (format!("ff-{TRACE}-{SPAN}-01"), false),
        (format!("{good}-"), false),
        (format!("{good}-extra"), false),
        (format!("00-{zeros}-{SPAN}-01"), false),
        (format!("00-{TRACE}-{}-01", &zeros[..16]), false),
        (good.to_uppercase(), false),
        (format!("00-{}-{SPAN}-01", TRACE.replace('f', "F")), false),
        (format!("00-{}-{SPAN}-01", TRACE.replace('f', "g")), false),
        (format!("0-{TRACE}-{SPAN}-01"), false),
        (format!("000-{TRACE}-{SPAN}-1"), false),
        (format!("00-{TRACE}1-{}-01", &SPAN[1..]), false),
        (format!("00-{TRACE}_{SPAN}-01"), false),
        (format!("00-{TRACE}-{SPAN}-0x"), false),
        (format!("00-{TRACE}-{SPAN}"), false),
        (format!("00 {TRACE} {SPAN} 01"), false),
        (format!("-{good}"), false),
        (String::new(), false),
    ] {
        assert_eq!(Traceparent::of(&said(&[&value])).is_some(), taken, "{value:?}");
    }
    assert_eq!(Traceparent::of(&said(&[])), None);
    assert_eq!(Traceparent::of(&said(&[&good, &good])), None, "two fields");
}

#[test]
fn what_is_read_is_written_again_with_the_flag_that_is_known() {
    for (flags, written) in [("00", "00"), ("01", "01"), ("02", "00"), ("03", "01"), ("ff", "01")] {
        let parent = Traceparent::of(&said(&[&format!("00-{TRACE}-{SPAN}-{flags}")])).unwrap();
        assert_eq!(parent.value(), format!("00-{TRACE}-{SPAN}-{written}"));
        assert_eq!(parent.trace.text(), TRACE.as_bytes());
    }
}

fn state(values: &[String]) -> Option<String> {
    let headers = values.iter().map(|value| (TRACESTATE, value.parse().unwrap())).collect();
    tracestate(&headers).map(|value| value.to_str().unwrap().to_owned())
}

fn members(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",")
}

#[test]
fn a_tracestate_keeps_its_members_in_order_over_several_fields() {
    for (values, kept) in [
        (vec!["a=1"], Some("a=1")),
        (vec!["a=1,b=2", "c=3"], Some("a=1,b=2,c=3")),
        (vec![" a=1 ,\t, b=x y ,", "", "c=3"], Some("a=1,b=x y,c=3")),
        (vec!["tenant@system=1,0a_-*/=2"], Some("tenant@system=1,0a_-*/=2")),
        (vec![], None),
        (vec!["", " , "], None),
        (vec!["a"], None),
        (vec!["a="], None),
        (vec!["=1"], None),
        (vec!["a=1,A=2"], None),
        (vec!["a=1,-b=2"], None),
        (vec!["a b=1"], None),
        (vec!["a=1=2"], None),
        (vec!["a=1,b=2,a=3"], None),
        (vec!["a=1", "a=2"], None),
    ] {
        let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        assert_eq!(state(&values).as_deref(), kept, "{values:?}");
    }
    for (key, value, taken) in [(256, 1, false), (3, 256, false), (3, 100, true), (3, 257, false), (257, 1, false)] {
        let member = format!("{}={}", "k".repeat(key), "v".repeat(value));
        let kept = state(&["first=1".to_owned(), member.clone()]);
        // Alone within the limits, but what is large is no more than one member of a long list.
        assert_eq!(kept.is_some(), key <= 256 && value <= 256, "{key} {value}");
        assert_eq!(kept.is_some_and(|kept| kept.ends_with(&member)), key <= 256 && value <= 256 || taken);
    }
}

#[test]
fn a_tracestate_has_at_most_32_members_and_512_bytes() {
    assert_eq!(state(&[members(0..32)]), Some(members(0..32)));
    assert_eq!(state(&[members(0..33)]), None);
    assert_eq!(state(&[members(0..20), members(20..33)]), None);
    let (large, small) = (format!("large={}", "v".repeat(200)), |name: &str| format!("{name}={}", "v".repeat(98)));
    let list = |names: &[&str]| names.iter().map(|name| small(name)).collect::<Vec<_>>().join(",");
    // Five members of 100 bytes and the commas between them are 504.
    let full = list(&["a", "b", "c", "d", "e"]);
    assert_eq!(state(std::slice::from_ref(&full)), Some(full.clone()));
    assert_eq!(state(&[format!("{large},{full}")]), Some(full.clone()), "the large one goes");
    assert_eq!(state(&[list(&["a", "b", "c", "d", "e", "f"])]), Some(full), "the last one goes");
}

#[test]
fn children_of_a_span_have_ids_of_their_own() {
    let spans = [1, 2, u64::MAX, 0x1234_5678_9abc_def0].map(SpanId::of);
    let ids: std::collections::HashSet<_> =
        spans.iter().flat_map(|span| (0..1000).map(|number| span.child(number).bytes())).collect();
    assert_eq!(ids.len(), 4000);
    assert!(spans.iter().all(|span| !ids.contains(&span.bytes())));
    assert_eq!(spans[0].child(7), spans[0].child(7));
}

#[test]
fn no_id_is_zero() {
    assert_eq!((TraceId::of(0).bytes()[15], SpanId::of(0).bytes()[7]), (1, 1));
}

#[test]
fn a_share_goes_by_the_low_56_bits() {
    let trace = |high: u128, low: u128| TraceId::of(high << 56 | low);
    let all = (1 << 56) - 1;
    let half = 1 << 55;
    for (parts, trace, taken) in [
        (0, trace(0xff, all), false),
        (1_000_000, trace(0xff, 0), true),
        (2_000_000, trace(0xff, 0), true),
        (500_000, trace(0, half), true),
        (500_000, trace(0, half - 1), false),
        (500_000, trace(u128::MAX >> 56, half - 1), false),
        (100_000, trace(1, all / 10 * 9), false),
        (100_000, trace(1, all / 10 * 9 + 100), true),
        (1, trace(1, all), true),
    ] {
        assert_eq!(Share::of_million(parts).takes(trace), taken, "{parts} {trace:?}");
    }
}

#[test]
fn what_a_small_share_takes_a_larger_one_takes_too() {
    let mut bits = 1_u128;
    for _ in 0..10_000 {
        bits = bits.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(99);
        let trace = TraceId::of(bits);
        let taken = [1_000, 100_000, 500_000, 1_000_000].map(|parts| Share::of_million(parts).takes(trace));
        assert!(taken.is_sorted(), "{taken:?}");
    }
}
