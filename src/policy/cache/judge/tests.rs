//! Which replies are stored, and for how long.

use super::super::tests::fields;
use super::*;

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn written(seconds: u64) -> String {
    httpdate::fmt_http_date(at(seconds))
}

fn rules(freshness: Freshness) -> Rules {
    Rules {
        freshness,
        stale_while_revalidate: Duration::from_secs(7),
        stale_if_error: Duration::from_secs(8),
        max_object: 1,
        set_cookie: SetCookie::Refuse,
    }
}

fn judged(freshness: Freshness, asked: Asked, status: u16, lines: &[&str]) -> Result<Lasting, Refusal> {
    let replied = Replied {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &fields(lines),
        at: at(NOW),
        delay: Duration::ZERO,
    };
    let rules = Rules { stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::ZERO, ..rules(freshness) };
    judge(&rules, asked, &replied)
}

/// Seconds for which a reply is fresh.
fn fresh(freshness: Freshness, status: u16, lines: &[&str]) -> Result<u64, Refusal> {
    judged(freshness, Asked::default(), status, lines).map(|lasting| lasting.fresh_for.as_secs())
}

#[test]
fn the_service_says_how_long_a_reply_is_fresh() {
    let (now, later, earlier) = (written(NOW), written(NOW + 100), written(NOW - 100));
    for (status, lines, expected) in [
        (200, &["cache-control: max-age=60"][..], Ok(60)),
        (200, &["cache-control: max-age=60", "age: 20"], Ok(40)),
        (200, &["cache-control: max-age=60", "age: 7200", "etag: \"a\""], Ok(0)),
        (200, &["cache-control: max-age=60", "age: 7200.0"], Ok(60)),
        (200, &["cache-control: max-age=60", "age: 20, 0"], Ok(40)),
        (200, &["cache-control: max-age=60", "age: 20", "age: 0"], Ok(40)),
        (200, &["cache-control: max-age=60", "age: -5"], Ok(60)),
        (200, &["cache-control: max-age=120", &format!("date: {earlier}")], Ok(20)),
        (200, &["cache-control: max-age=60, s-maxage=5"], Ok(5)),
        (200, &["cache-control: max-age=60", &format!("expires: {earlier}")], Ok(60)),
        (200, &[&format!("date: {now}"), &format!("expires: {later}")], Ok(100)),
        (200, &[&format!("expires: {later}")], Ok(100)),
        (200, &[&format!("date: {later}"), &format!("expires: {later}")], Err(Refusal::Useless)),
        (200, &["expires: 0"], Err(Refusal::Useless)),
        (200, &["expires: 0", "etag: \"a\""], Ok(0)),
        (200, &["cache-control: max-age=0"], Err(Refusal::Useless)),
        (200, &[], Err(Refusal::Useless)),
        (200, &["last-modified: x"], Ok(0)),
        (200, &[&format!("date: {now}"), &format!("last-modified: {earlier}")], Ok(10)),
        (403, &[&format!("date: {now}"), &format!("last-modified: {earlier}")], Err(Refusal::Status)),
        (403, &["cache-control: public", &format!("last-modified: {earlier}")], Ok(10)),
        (503, &["cache-control: max-age=60"], Ok(60)),
        (206, &["cache-control: max-age=60"], Err(Refusal::Status)),
        (304, &["cache-control: max-age=60"], Err(Refusal::Status)),
        (200, &["cache-control: no-cache, max-age=60", "etag: \"a\""], Ok(0)),
        (200, &["cache-control: no-cache, max-age=60"], Err(Refusal::Useless)),
        (200, &["cache-control: no-store, max-age=60"], Err(Refusal::NoStore)),
        (200, &["cache-control: must-understand, no-store, max-age=60"], Ok(60)),
        (599, &["cache-control: must-understand, max-age=60"], Err(Refusal::Status)),
        (200, &["cache-control: private, max-age=60"], Err(Refusal::Private)),
        (200, &["cache-control: max-age=60", "vary: *"], Err(Refusal::VariesOnAll)),
        (200, &["cache-control: max-age=60", "vary: accept , *"], Err(Refusal::VariesOnAll)),
        (200, &["cache-control: max-age=60", "set-cookie: a=b"], Err(Refusal::Cookies)),
    ] {
        assert_eq!(fresh(Freshness::Respected, status, lines), expected, "{status} {lines:?}");
    }
}

#[test]
fn the_heuristic_has_an_end() {
    let lines = [format!("date: {}", written(NOW)), format!("last-modified: {}", written(NOW - 400 * 24 * 3600))];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(fresh(Freshness::Respected, 200, &lines), Ok(24 * 3600));
}

#[test]
fn a_time_of_the_configuration_stands_above_the_service_but_not_above_its_prohibitions() {
    let fixed = Freshness::Fixed(Duration::from_secs(30));
    for (status, lines, expected) in [
        (200, &[][..], Ok(30)),
        (200, &["cache-control: max-age=0"], Ok(30)),
        (200, &["cache-control: max-age=600"], Ok(30)),
        (200, &["cache-control: max-age=600", "age: 500"], Ok(30)),
        (301, &[], Ok(30)),
        (404, &[], Err(Refusal::Status)),
        (404, &["cache-control: max-age=10"], Ok(10)),
        (404, &["cache-control: max-age=100"], Ok(30)),
        (500, &[], Err(Refusal::Status)),
        (200, &["cache-control: no-store"], Err(Refusal::NoStore)),
        (200, &["cache-control: private"], Err(Refusal::Private)),
        (200, &["cache-control: no-cache", "etag: \"a\""], Ok(0)),
        (200, &["set-cookie: a=b"], Err(Refusal::Cookies)),
    ] {
        assert_eq!(fresh(fixed, status, lines), expected, "{status} {lines:?}");
    }
}

#[test]
fn replies_to_authorised_requests_are_for_others_only_when_they_say_so() {
    let asked = Asked { authorized: true, no_store: false };
    for (line, expected) in [
        ("cache-control: max-age=60", Err(Refusal::Authorized)),
        ("cache-control: max-age=60, public", Ok(60)),
        ("cache-control: max-age=60, must-revalidate", Ok(60)),
        ("cache-control: s-maxage=60", Ok(60)),
        ("cache-control: s-maxage=60, private", Err(Refusal::Private)),
    ] {
        let decided = judged(Freshness::Respected, asked, 200, &[line]);
        assert_eq!(decided.map(|lasting| lasting.fresh_for.as_secs()), expected, "{line}");
    }
    let asked = Asked { authorized: false, no_store: true };
    assert_eq!(judged(Freshness::Respected, asked, 200, &["cache-control: max-age=60"]), Err(Refusal::NoStore));
}

#[test]
fn how_stale_a_reply_may_be_is_said_by_itself_or_by_the_configuration() {
    for (line, while_revalidate, if_error, never_stale) in [
        ("cache-control: max-age=60", 7, 8, false),
        ("cache-control: max-age=60, stale-while-revalidate=1, stale-if-error=2", 1, 2, false),
        ("cache-control: max-age=60, must-revalidate, stale-while-revalidate=1", 0, 0, true),
        ("cache-control: max-age=60, proxy-revalidate", 0, 0, true),
        ("cache-control: s-maxage=60", 7, 8, true),
    ] {
        let headers = fields(&[line]);
        let replied = Replied { status: StatusCode::OK, headers: &headers, at: at(NOW), delay: Duration::ZERO };
        let lasting = judge(&rules(Freshness::Respected), Asked::default(), &replied).unwrap();
        let decided = (lasting.while_revalidate.as_secs(), lasting.if_error.as_secs(), lasting.never_stale);
        assert_eq!(decided, (while_revalidate, if_error, never_stale), "{line}");
    }
}

#[test]
fn cookies_may_be_removed_instead() {
    let headers = fields(&["cache-control: max-age=60", "set-cookie: a=b"]);
    let replied = Replied { status: StatusCode::OK, headers: &headers, at: at(NOW), delay: Duration::ZERO };
    let rules = Rules { set_cookie: SetCookie::Remove, ..rules(Freshness::Respected) };
    assert!(judge(&rules, Asked::default(), &replied).is_ok());
}

#[test]
fn the_time_that_a_reply_took_makes_it_older() {
    let headers = fields(&["cache-control: max-age=60", "age: 5"]);
    let replied = Replied { status: StatusCode::OK, headers: &headers, at: at(NOW), delay: Duration::from_secs(3) };
    let lasting = judge(&rules(Freshness::Respected), Asked::default(), &replied).unwrap();
    assert_eq!((lasting.age.as_secs(), lasting.fresh_for.as_secs()), (8, 52));
}
