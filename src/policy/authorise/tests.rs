//! Every condition alone, and all of them together.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn names(text: &str) -> Option<Names> {
    Some(text.split_whitespace().map(Into::into).collect())
}

fn networks(text: &str) -> Networks {
    let parsed: Vec<_> = text.split_whitespace().map(|network| network.parse().unwrap()).collect();
    Networks::of(&parsed)
}

/// A caller's name, plan, groups and claims.
type Who = (&'static str, Option<&'static str>, &'static [&'static str], Value);

fn asked(rules: &Authorisation, (name, plan, groups, claims): &Who) -> Result<(), Condition> {
    let groups: Vec<Box<str>> = groups.iter().map(|group| (*group).into()).collect();
    let claims = claims.as_object().unwrap();
    rules.of_caller(Some(Caller { name, plan: *plan, groups: &groups, claims }))
}

#[test]
fn each_condition_passes_those_who_meet_it_with_one_member() {
    let tenant = || ClaimRule { name: "tenant".into(), wanted: [Wanted::Text("acme".into())].into() };
    let level = || ClaimRule { name: "level".into(), wanted: [Wanted::Number(3.into())].into() };
    let none = Authorisation::default;
    let rows: [(Authorisation, Who, Who, Condition); 6] = [
        (
            Authorisation { consumers: names("alice bob"), ..none() },
            ("bob", None, &[], json!({})),
            ("eve", None, &["alice"], json!({"sub": "alice"})),
            Condition::Consumers,
        ),
        (
            Authorisation { groups: names("staff admin"), ..none() },
            ("eve", None, &["guests", "admin"], json!({})),
            ("staff", Some("staff"), &["guests"], json!({"groups": ["staff"]})),
            Condition::Groups,
        ),
        (
            Authorisation { plans: names("gold"), ..none() },
            ("eve", Some("gold"), &[], json!({})),
            ("gold", Some("free"), &["gold"], json!({})),
            Condition::Plans,
        ),
        (
            Authorisation { plans: names("gold"), ..none() },
            ("eve", Some("gold"), &[], json!({})),
            ("gold", None, &[], json!({"plan": "gold"})),
            Condition::Plans,
        ),
        (
            Authorisation { scopes: names("users:read users:write"), ..none() },
            ("eve", None, &[], json!({"scope": "openid users:read"})),
            ("eve", None, &["users:read"], json!({"scope": "users:readonly"})),
            Condition::Scopes,
        ),
        (
            Authorisation { claims: vec![tenant(), level()], ..none() },
            ("eve", None, &[], json!({"tenant": ["acme"], "level": 3})),
            ("eve", None, &[], json!({"tenant": "acme"})),
            Condition::Claims,
        ),
    ];
    for (rules, passes, fails, condition) in rows {
        assert_eq!(rules.stated().collect::<Vec<_>>(), [condition]);
        assert_eq!(asked(&rules, &passes), Ok(()), "{rules:?} {passes:?}");
        assert_eq!(asked(&rules, &fails), Err(condition), "{rules:?} {fails:?}");
        assert_eq!(rules.of_caller(None), Err(condition), "nobody meets {rules:?}");
    }
    assert_eq!(none().of_caller(None), Ok(()));
}

#[test]
fn a_denied_address_is_denied_whatever_is_allowed() {
    for (denied, allowed, address, expected) in [
        ("", "", "192.0.2.1", Ok(())),
        ("192.0.2.0/24", "", "192.0.2.1", Err(Condition::DeniedAddress)),
        ("192.0.2.0/24", "", "198.51.100.1", Ok(())),
        ("", "10.0.0.0/8", "10.1.1.1", Ok(())),
        ("", "10.0.0.0/8", "192.0.2.1", Err(Condition::Addresses)),
        ("10.9.0.0/16", "10.0.0.0/8", "10.9.1.1", Err(Condition::DeniedAddress)),
        ("10.9.0.0/16", "10.0.0.0/8", "10.8.1.1", Ok(())),
        ("10.9.0.0/16", "10.0.0.0/8 2001:db8::/32", "2001:db8::1", Ok(())),
        ("::/0", "", "192.0.2.1", Ok(())),
    ] {
        let addresses = (!allowed.is_empty()).then(|| networks(allowed));
        let rules = Authorisation { denied: networks(denied), addresses, ..Authorisation::default() };
        assert_eq!(rules.of_address(address.parse().unwrap()), expected, "-{denied} +{allowed}: {address}");
    }
}

proptest! {
    /// Each condition is stated or not, and met or not: a caller passes when every stated one is met, and hears
    /// of the first that is not.
    #[test]
    fn all_stated_conditions_must_hold(stated in any::<[bool; 5]>(), met in any::<[bool; 5]>()) {
        let wanted = |at: usize| if stated[at] { names("right") } else { None };
        let tenant = ClaimRule { name: "tenant".into(), wanted: [Wanted::Text("right".into())].into() };
        let rules = Authorisation {
            consumers: wanted(0),
            groups: wanted(1),
            plans: wanted(2),
            scopes: wanted(3),
            claims: if stated[4] { vec![tenant] } else { Vec::new() },
            ..Authorisation::default()
        };
        let word = |at: usize| if met[at] { "right" } else { "wrong" };
        let groups = [word(1).into()];
        let claims = json!({"scope": word(3), "tenant": word(4)});
        let caller = Caller {
            name: word(0),
            plan: Some(word(2)),
            groups: &groups,
            claims: claims.as_object().unwrap(),
        };
        let order = [Condition::Consumers, Condition::Groups, Condition::Plans, Condition::Scopes, Condition::Claims];
        let first = (0..5).find(|at| stated[*at] && !met[*at]);
        let expected = first.map_or(Ok(()), |at| Err(order[at]));
        prop_assert_eq!(rules.of_caller(Some(caller)), expected);
    }
}
