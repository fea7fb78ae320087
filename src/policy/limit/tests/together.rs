//! Several limits of one request, and places in flight.

use serde_json::json;

use super::{Claim, Desk, Limit, Subject, Unit, alice, concurrency, named_rate, quota, rate};

fn claim(limit: &Limit) -> Claim<'_> {
    Claim { limit, subject: alice(), cost: 1 }
}

#[test]
fn a_refused_request_spends_nothing_of_the_other_limits() {
    let (mut desk, places) = (Desk::new(), concurrency(9));
    let (plenty, scarce, day) =
        (named_rate("plenty", 100, 60, 100), named_rate("scarce", 1, 60, 1), quota(9, Unit::Day, "UTC"));
    let all = [claim(&plenty), claim(&day), claim(&scarce), claim(&places)];
    drop(desk.decide(&all).unwrap());
    for _ in 0..50 {
        let refused = desk.decide(&all).unwrap_err();
        assert_eq!(refused.violated().collect::<Vec<_>>(), ["scarce"]);
        assert_eq!(refused.retry_after_seconds, 60);
        assert_eq!(refused.standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), [99, 8, 0, 9]);
    }
    assert_eq!(desk.ask(&plenty, 0), Ok(99));
    assert_eq!(desk.ask(&day, 0), Ok(8));
    desk.wait(60);
    assert!(desk.decide(&all).is_ok());
}

#[test]
fn every_limit_that_refuses_is_named_and_the_longest_wait_is_told() {
    let desk = Desk::new().at("2025-06-15T23:00:00Z");
    let (short, long, day) = (named_rate("short", 1, 5, 1), named_rate("long", 1, 50, 1), quota(1, Unit::Day, "UTC"));
    let all = [claim(&short), claim(&day), claim(&long)];
    let _ = desk.decide(&all).unwrap();
    let refused = desk.decide(&all).unwrap_err();
    assert_eq!(refused.violated().collect::<Vec<_>>(), ["short", "quota", "long"]);
    assert_eq!(refused.retry_after_seconds, 3600);
    let refused = desk.decide(&[claim(&long), claim(&short)]).unwrap_err();
    assert_eq!(refused.retry_after_seconds, 50);
}

#[test]
fn a_request_without_claims_passes() {
    assert!(Desk::new().decide(&[]).unwrap().standings.is_empty());
}

#[test]
fn one_counter_claimed_twice_is_charged_twice_or_not_at_all() {
    let (desk, limit) = (Desk::new(), rate(3, 60, 3));
    let twice = [claim(&limit), claim(&limit)];
    let granted = desk.decide(&twice).unwrap();
    assert_eq!(granted.standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), [2, 1]);
    assert!(desk.decide(&twice).is_err());
    assert_eq!(desk.ask(&limit, 1), Ok(0));
}

#[test]
fn more_claims_than_usual_are_decided_alike() {
    let limits: Vec<Limit> = (0..20).map(|number| named_rate(&format!("limit-{number}"), 2, 60, 2)).collect();
    let everybody = [alice(), Subject::everyone(), Subject::address("192.0.2.1".parse().unwrap())];
    let claims: Vec<Claim<'_>> = (limits.iter().zip(everybody.into_iter().cycle()))
        .map(|(limit, subject)| Claim { limit, subject, cost: 1 })
        .collect();
    let desk = Desk::new();
    assert!(desk.decide(&claims).is_ok());
    assert!(desk.decide(&claims).is_ok());
    assert_eq!(desk.decide(&claims).unwrap_err().violated().count(), 20);
}

#[test]
fn places_in_flight_come_back_when_the_permit_is_dropped() {
    let (desk, places) = (Desk::new(), concurrency(2));
    let first = desk.decide(&[claim(&places)]).unwrap();
    let second = desk.decide(&[Claim { cost: 7, ..claim(&places) }]).unwrap();
    assert_eq!(second.standings[0].remaining, 0, "a dear request takes one place");
    assert_eq!(desk.ask(&places, 1), Err(1));
    assert_eq!(desk.ask_as(&places, Subject::consumer("bob"), 1), Ok(1));
    drop(first);
    let third = desk.decide(&[claim(&places)]).unwrap();
    assert_eq!(desk.ask(&places, 1), Err(1));
    drop((second, third));
    assert_eq!(desk.ask(&places, 1), Ok(1));
}

#[test]
fn places_in_flight_survive_a_change_of_the_number() {
    let (desk, places) = (Desk::new(), concurrency(3));
    let held: Vec<_> = (0..3).map(|_| desk.decide(&[claim(&places)]).unwrap().permit).collect();
    let fewer = concurrency(2);
    assert_eq!(desk.ask(&fewer, 1), Err(1));
    assert_eq!(desk.ask(&concurrency(4), 1), Ok(0));
    drop(held);
    assert_eq!(desk.ask(&fewer, 1), Ok(1));
}

#[test]
fn a_refused_request_holds_no_place() {
    let (desk, places, once) = (Desk::new(), concurrency(1), rate(1, 60, 1));
    drop(desk.decide(&[claim(&places), claim(&once)]).unwrap());
    assert!(desk.decide(&[claim(&places), claim(&once)]).is_err());
    assert_eq!(desk.ask(&places, 1), Ok(0));
}

#[test]
fn subjects_are_told_apart() {
    let address = |text: &str| Subject::address(text.parse().unwrap());
    assert_ne!(Subject::consumer("a"), Subject::consumer("b"));
    assert_ne!(Subject::consumer("a"), Subject::claim("a"));
    assert_ne!(Subject::header(None), Subject::header(Some(b"")));
    let values = [json!("7"), json!(7), json!(8), json!("true"), json!(true), json!(false), json!("")];
    let mut claimed: Vec<Subject> = values.iter().map(|value| Subject::claimed(Some(value))).collect();
    claimed.extend([Subject::claimed(None), Subject::claim("7"), Subject::consumer("7"), Subject::everyone()]);
    for (index, one) in claimed.iter().enumerate() {
        assert!(!claimed[..index].contains(one), "{index}");
    }
    assert_eq!(Subject::claimed(Some(&json!("7"))), claimed[0]);
    for no_scalar in [json!(null), json!([]), json!(["7"]), json!({ "7": "7" })] {
        assert_eq!(Subject::claimed(Some(&no_scalar)), Subject::claimed(None), "{no_scalar}");
    }
    assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    assert_eq!(address("192.0.2.1"), address("::ffff:192.0.2.1"));
    assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
    assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
}
