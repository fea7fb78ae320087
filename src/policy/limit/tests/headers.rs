//! Header values, letter by letter.

use super::super::headers::{rate_limit, rate_limit_policy, retry_after, x_rate_limit};
use super::{Claim, Desk, Limit, TimeZone, Unit, alice, concurrency, named_rate, rate};

fn total_day(count: u64) -> Limit {
    Limit::quota("day", "total-day", count, Unit::Day, TimeZone::UTC).unwrap()
}

fn claims<'a>(limits: &'a [&'a Limit]) -> Vec<Claim<'a>> {
    limits.iter().map(|limit| Claim { limit, subject: alice(), cost: 1 }).collect()
}

/// `RateLimit` and the triplet after one request at 23:00.
fn told(limits: &[&Limit]) -> (String, Option<[String; 3]>) {
    let desk = Desk::new().at("2025-06-15T23:00:00Z");
    let claims = claims(limits);
    let granted = desk.decide(&claims).unwrap();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let triplet = x_rate_limit(&granted.standings);
    (
        text(&rate_limit(&granted.standings).unwrap()),
        triplet.map(|triplet| [text(&triplet.limit), text(&triplet.remaining), text(&triplet.reset)]),
    )
}

#[test]
fn a_policy_says_what_a_client_may_use_in_which_time() {
    let month = Limit::quota("m", "total-month", 1_000_000, Unit::Month, TimeZone::UTC).unwrap();
    let table = [
        (total_day(1000), "\"total-day\";q=1000;w=86400"),
        (month, "\"total-month\";q=1000000;w=2678400"),
        (rate(100, 60, 100), "\"rate\";q=100;w=60"),
        (rate(5, 1, 10), "\"rate\";q=10;w=2"),
        (rate(7, 1, 10), "\"rate\";q=10;w=2"),
        (rate(5, 1, 1), "\"rate\";q=1;w=1"),
        (concurrency(4), "\"concurrency\";q=4;qu=\"concurrent-requests\""),
    ];
    for (limit, item) in &table {
        assert_eq!(limit.policy_item(), *item);
    }
    let all = rate_limit_policy([&table[0].0, &table[6].0]).unwrap();
    assert_eq!(all, "\"total-day\";q=1000;w=86400, \"concurrency\";q=4;qu=\"concurrent-requests\"");
    assert_eq!(rate_limit_policy([]), None);
}

#[test]
fn standings_are_told_of_every_limit_and_the_triplet_of_the_closest() {
    let (day, second, places) = (total_day(1000), named_rate("second", 5, 1, 5), concurrency(1));
    let triplet = |values: [&str; 3]| Some(values.map(str::to_owned));
    let table = [
        (vec![&day], "\"total-day\";r=999;t=3600", triplet(["1000", "999", "3600"])),
        (vec![&day, &second], "\"total-day\";r=999;t=3600, \"second\";r=4;t=1", triplet(["5", "4", "1"])),
        (vec![&places, &day], "\"concurrency\";r=0, \"total-day\";r=999;t=3600", triplet(["1000", "999", "3600"])),
        (vec![&places], "\"concurrency\";r=0", None),
    ];
    for (limits, header, triplet) in table {
        assert_eq!(told(&limits), (header.to_owned(), triplet));
    }
    assert_eq!(rate_limit(&[]), None);
    assert_eq!(x_rate_limit(&[]), None);
}

#[test]
fn among_equals_the_triplet_shows_the_later_reset() {
    let (short, long) = (named_rate("short", 1, 5, 1), named_rate("long", 1, 50, 1));
    assert_eq!(told(&[&short, &long]).1.unwrap(), ["1", "0", "50"]);
}

#[test]
fn a_refusal_tells_of_the_limit_that_refused() {
    let desk = Desk::new().at("2025-06-15T23:00:00Z");
    let (dear, day) = (named_rate("dear", 3, 60, 3), total_day(2));
    let claims = [Claim { limit: &day, subject: alice(), cost: 1 }, Claim { limit: &dear, subject: alice(), cost: 2 }];
    let _ = desk.decide(&claims).unwrap();
    let refused = desk.decide(&claims).unwrap_err();
    assert_eq!(rate_limit(&refused.standings).unwrap(), "\"total-day\";r=1;t=3600, \"dear\";r=1;t=20");
    assert_eq!(x_rate_limit(&refused.standings).unwrap().limit, "3", "it has as much left, but it refused");
    assert_eq!(retry_after(&refused), "20");
}

#[test]
fn the_largest_numbers_fit() {
    let most = super::super::MAX_COUNT;
    let limit = total_day(most);
    assert_eq!(told(&[&limit]).0, format!("\"total-day\";r={};t=3600", most - 1));
}
