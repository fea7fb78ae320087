//! Which faults are found, where, and that all of them come at once.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml::value::{Tag, TaggedValue};

use super::*;
use crate::config::{Config, OneOrMany, Parameter, Rate};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Zoo {
    name: String,
    size: u8,
    rate: Rate,
    #[serde(default)]
    open: Option<bool>,
    #[serde(default)]
    animals: Vec<Animal>,
    #[serde(default)]
    cages: IndexMap<String, Animal>,
    #[serde(default)]
    kind: Kind,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Animal {
    legs: i8,
    #[serde(default)]
    eats: Vec<u32>,
    #[serde(default)]
    weight: f64,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Public,
    Private,
}

fn faults_of<T: DeserializeOwned>(value: &Value) -> Vec<String> {
    let (decoded, faults) = decode::<T>(value);
    assert_eq!(decoded.is_some(), faults.is_empty());
    let mut faults: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.place, fault.message)).collect();
    faults.sort();
    faults
}

/// All faults of `yaml` as a `T`, sorted.
fn faults<T: DeserializeOwned>(yaml: &str) -> Vec<String> {
    faults_of::<T>(&serde_yaml::from_str(yaml).unwrap())
}

#[test]
fn a_good_value_is_decoded() {
    let (zoo, faults) = decode::<Zoo>(
        &serde_yaml::from_str(
            "{name: a, size: 255, rate: 1/day, open: true, animals: [{legs: -4, eats: [1], weight: 2}],
              cages: {7: {legs: 2, weight: 1.5}}, kind: private}",
        )
        .unwrap(),
    );
    assert!(faults.is_empty(), "{faults:?}");
    let zoo = zoo.unwrap();
    assert_eq!((zoo.size, zoo.open, zoo.kind), (255, Some(true), Kind::Private));
    assert_eq!(zoo.animals, [Animal { legs: -4, eats: vec![1], weight: 2.0 }]);
    assert_eq!(zoo.cages["7"].weight, 1.5);
}

#[test]
fn all_faults_come_at_once() {
    for (yaml, expected) in [
        ("{}", vec![": missing key `name`", ": missing key `rate`", ": missing key `size`"]),
        ("[]", vec![": expected a mapping, got a list"]),
        (
            "{name: [], size: 256, rate: soon, open: 1, kind: other}",
            vec![
                "kind: expected `public` or `private`, got `other`",
                "name: expected text, got a list",
                "open: expected `true` or `false`, got `1`",
                "rate: expected a rate like `100/minute` or `5/second burst 10`, got `soon`",
                "size: expected a whole number from 0 to 255, got `256`",
            ],
        ),
        (
            "{name: a, size: x, animals: [{}, {legs: a, eats: [x, 1, y]}, 5, {legs: 2, arms: 2}]}",
            vec![
                ": missing key `rate`",
                "animals[0]: missing key `legs`",
                "animals[1].eats[0]: expected a whole number from 0 to 4294967295, got `x`",
                "animals[1].eats[2]: expected a whole number from 0 to 4294967295, got `y`",
                "animals[1].legs: expected a whole number, got `a`",
                "animals[2]: expected a mapping, got `5`",
                "animals[3].arms: unknown key `arms`",
                "size: expected a whole number from 0 to 255, got `x`",
            ],
        ),
        (
            "{name: a, size: 1, rate: 1/day, cages: {a: {legs: x}, b: [], c: {legs: 1, eats: [-1]}, d: {eats: 1}}}",
            vec![
                "cages.a.legs: expected a whole number, got `x`",
                "cages.b: expected a mapping, got a list",
                "cages.c.eats[0]: expected a whole number from 0 to 4294967295, got `-1`",
                "cages.d.eats: expected a list, got `1`",
                "cages.d: missing key `legs`",
            ],
        ),
        (
            "{name: ~, size: 1, rate: ~, open: ~, animals: ~}",
            vec![
                "animals: expected a list, got nothing",
                "name: expected text, got nothing",
                "open: expected a value, got nothing",
                "rate: expected a rate like `100/minute` or `5/second burst 10`, got nothing",
            ],
        ),
        ("{nam: a, size: 1, rate: 1/day}", vec!["nam: unknown key `nam`"]),
    ] {
        assert_eq!(faults::<Zoo>(yaml), expected, "{yaml}");
    }
}

#[test]
fn an_unknown_key_is_pointed_at_with_a_suggestion() {
    let (_, faults) = decode::<Zoo>(&serde_yaml::from_str("{name: a, size: 1, rate: 1/day, animols: []}").unwrap());
    assert_eq!(faults[0].on, On::Key);
    assert_eq!(faults[0].place, Place::root().key("animols"));
    assert_eq!(faults[0].help.as_deref(), Some("did you mean `animals`?"));
}

#[test]
fn shapes_that_choose_by_themselves_keep_the_place_inside() {
    type Shapes = BTreeMap<String, OneOrMany<Rate>>;
    assert_eq!(
        faults::<Shapes>("{a: [x, 1/day, {}], b: y, c: 1/day}"),
        [
            "a[0]: expected a rate like `100/minute` or `5/second burst 10`, got `x`",
            "a[2]: expected a rate like `100/minute` or `5/second burst 10`, got a mapping",
            "b: expected a rate like `100/minute` or `5/second burst 10`, got `y`",
        ]
    );
    assert_eq!(
        faults::<IndexMap<String, Parameter>>("{a: {optional: 1, default: 2, type: x}, b: [], c: {optional: x}}"),
        [
            "a.optional: expected `true` or `false`, got `1`",
            "b: expected a mapping, got a list",
            "c.optional: expected `true` or `false`, got `x`",
        ]
    );
}

#[test]
fn numbers_in_free_json_stay_numbers() {
    let (parameter, _) = decode::<Parameter>(
        &serde_yaml::from_str("{default: 20, minimum: -1, maximum: 1.5, enum: [1, 18446744073709551615, ~]}").unwrap(),
    );
    let parameter = parameter.unwrap();
    assert_eq!(parameter.default, Some(serde_json::json!(20)));
    assert_eq!(
        serde_json::to_string(&parameter.schema).unwrap(),
        r#"{"minimum":-1,"maximum":1.5,"enum":[1,18446744073709551615,null]}"#
    );
}

fn placed(tag: &str, text: &str) -> Value {
    Value::Tagged(Box::new(TaggedValue { tag: Tag::new(tag), value: text.into() }))
}

#[test]
fn a_whole_placeholder_takes_the_type_that_is_asked_for() {
    let text = |tag, text| decode::<String>(&placed(tag, text)).0;
    let number = |tag, text| decode::<u32>(&placed(tag, text)).0;
    let json = |tag, text| decode::<serde_json::Value>(&placed(tag, text)).0.unwrap();
    assert_eq!(text(WHOLE, "12"), Some("12".to_owned()));
    assert_eq!(number(WHOLE, "12"), Some(12));
    assert_eq!(number(PART, "12"), None);
    assert_eq!(number(WHOLE, "-12"), None);
    assert_eq!(decode::<bool>(&placed(WHOLE, "true")).0, Some(true));
    assert_eq!(decode::<Option<Kind>>(&placed(WHOLE, "private")).0, Some(Some(Kind::Private)));
    assert_eq!(json(WHOLE, "12"), serde_json::json!(12));
    assert_eq!(json(WHOLE, "-12"), serde_json::json!(-12));
    assert_eq!(json(WHOLE, "012"), serde_json::json!("012"));
    assert_eq!(json(WHOLE, "+12"), serde_json::json!("+12"));
    assert_eq!(json(PART, "12"), serde_json::json!("12"));
}

#[test]
fn a_placed_value_is_never_repeated() {
    for found in [
        faults_of::<u32>(&placed(WHOLE, "hunter2")),
        faults_of::<Rate>(&placed(WHOLE, "hunter2")),
        faults_of::<Kind>(&placed(PART, "hunter2")),
        faults_of::<ipnet::IpNet>(&placed(PART, "hunter2")),
        faults_of::<char>(&placed(PART, "hunter2")),
        faults_of::<Zoo>(&placed(PART, "hunter2")),
        faults_of::<OneOrMany<Rate>>(&placed(WHOLE, "hunter2")),
        faults_of::<OneOrMany<Rate>>(&placed(WHOLE, "62371")),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found[0].contains("hunter2") && !found[0].contains("62371"), "{found:?}");
    }
}

#[test]
fn a_value_that_is_reported_already_is_passed_over() {
    let value = Value::Sequence(vec![placed(UNKNOWN, ""), "x".into()]);
    assert_eq!(faults_of::<Vec<u32>>(&value), ["[1]: expected a whole number from 0 to 4294967295, got `x`"]);
}

#[test]
fn a_thousand_faults_are_enough() {
    let many: Vec<Value> = (0..5000).map(|_| Value::from("x")).collect();
    let (_, faults) = decode::<Vec<u32>>(&Value::Sequence(many));
    assert_eq!(faults.len(), MOST_FAULTS);
}

#[test]
fn a_configuration_needs_a_version_and_listeners() {
    assert_eq!(faults::<Config>("{}"), [": missing key `listeners`", ": missing key `version`"]);
}

/// What is left of a zoo: its name, the legs of its animals, its cages.
fn rest(yaml: &str) -> Option<(String, Vec<i8>, Vec<String>)> {
    match read::<Zoo>(&serde_yaml::from_str(yaml).unwrap()) {
        Decoded::Whole(_) => panic!("nothing is wrong with {yaml}"),
        Decoded::Faulty { rest, .. } => rest.map(|(zoo, damage)| {
            assert!(!damage.is_empty(), "{yaml}");
            let legs = zoo.animals.iter().map(|animal| animal.legs).collect();
            (zoo.name, legs, zoo.cages.into_keys().collect())
        }),
    }
}

#[test]
fn what_is_not_faulty_is_left() {
    for (yaml, name, legs, cages) in [
        ("{name: a, size: x, rate: 1/day, animals: [{legs: 1}, {legs: 2}]}", "a", &[1, 2][..], &[][..]),
        ("{name: [], size: 1, rate: 1/day, cages: {c: {legs: 1}}}", "", &[], &["c"]),
        ("{name: a, size: 1, rat: 1/day}", "a", &[], &[]),
        ("{name: a, size: 1, rate: 1/day, animals: [7, {legs: 2}, [], {legs: 3, arms: 2}]}", "a", &[2, 3], &[]),
        ("{name: a, size: 1, rate: 1/day, animals: [{legs: 1, eats: [x, 1]}, {legs: x}]}", "a", &[1, 0], &[]),
        ("{name: a, size: 1, rate: 1/day, cages: {c: 7, d: {}, e: {legs: 1, eats: 7}}}", "a", &[], &["d", "e"]),
    ] {
        let cages = cages.iter().map(|cage| (*cage).to_owned()).collect();
        assert_eq!(rest(yaml), Some((name.to_owned(), legs.to_vec(), cages)), "{yaml}");
    }
    assert_eq!(rest("[]"), None);
}
