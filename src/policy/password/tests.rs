//! Hashes that others made, and what `Authorization` may hold.

use super::*;

/// Of the authors of argon2, for `password`.
const ARGON2ID: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// Of the authors of crypt_blowfish, for `U*U`.
const BCRYPT: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn fits(hash: &str, password: &str) -> bool {
    PasswordHash::parse(hash).unwrap_or_else(|fault| panic!("{hash}: {fault}")).fits(password.as_bytes())
}

#[test]
fn published_hashes_fit_their_password_and_no_other() {
    for (hash, password) in [
        (ARGON2ID, "password"),
        ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"),
        (BCRYPT, "U*U"),
        (&BCRYPT.replace("2a", "2y"), "U*U"),
        (&BCRYPT.replace("2a", "2b"), "U*U"),
    ] {
        assert!(fits(hash, password), "{hash}");
        for other in ["", "p", "passworD", "password ", "U*U*", "u*u"] {
            assert!(!fits(hash, other), "{hash} takes {other:?}");
        }
    }
}

#[test]
fn a_new_hash_is_read_again_and_is_not_weak() {
    let text = PasswordHash::make("pä:ss".as_bytes(), &[7; 16]).unwrap();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    let hash = PasswordHash::parse(&text).unwrap();
    assert!(hash.fits("pä:ss".as_bytes()) && !hash.fits(b"pass") && !hash.is_weak());
    assert_ne!(text, PasswordHash::make("pä:ss".as_bytes(), &[8; 16]).unwrap());
}

#[test]
fn costs_are_bounded_and_weak_ones_known() {
    let argon2id = |costs: &str| ARGON2ID.replace("m=256,t=2,p=1", costs);
    let bcrypt = |cost: &str| BCRYPT.replace("$05$", &format!("${cost}$"));
    for (text, expected) in [
        (argon2id("m=256,t=2,p=1"), Ok(true)),
        (argon2id("m=19456,t=2,p=1"), Ok(false)),
        (argon2id("m=12288,t=3,p=1"), Ok(false)),
        (argon2id("m=7168,t=5,p=4"), Ok(false)),
        (argon2id("m=65536,t=8,p=1"), Ok(false)),
        (argon2id("m=65536,t=9,p=1"), Err(HashFault::Work)),
        (argon2id("m=65537,t=1,p=1"), Err(HashFault::Memory)),
        (argon2id("m=4294967295,t=1,p=1"), Err(HashFault::Memory)),
        (argon2id("m=8,t=4294967295,p=1"), Err(HashFault::Work)),
        (argon2id("m=256,t=0,p=1"), Err(HashFault::Form)),
        (argon2id("m=256,t=2,p=17"), Err(HashFault::Form)),
        (argon2id("m=8,t=2,p=16"), Err(HashFault::Form)),
        (argon2id("t=2,m=256,p=1"), Err(HashFault::Form)),
        (argon2id("m=256,t=2,p=1,x=1"), Err(HashFault::Form)),
        (ARGON2ID.replace("argon2id", "argon2i"), Err(HashFault::Form)),
        (ARGON2ID.replace("v=19", "v=16"), Err(HashFault::Form)),
        (ARGON2ID.replace("c29tZXNhbHQ", "c29t"), Err(HashFault::Form)),
        (format!("{ARGON2ID}="), Err(HashFault::Form)),
        (format!("{ARGON2ID}$"), Err(HashFault::Form)),
        (bcrypt("05"), Ok(true)),
        (bcrypt("09"), Ok(true)),
        (bcrypt("10"), Ok(false)),
        (bcrypt("14"), Ok(false)),
        (bcrypt("15"), Err(HashFault::Work)),
        (bcrypt("31"), Err(HashFault::Work)),
        (bcrypt("03"), Err(HashFault::Form)),
        (bcrypt("5"), Err(HashFault::Form)),
        (bcrypt("x"), Err(HashFault::Form)),
        (BCRYPT.replace("2a", "2x"), Err(HashFault::Form)),
        (BCRYPT[..59].to_owned(), Err(HashFault::Form)),
        (BCRYPT.replace("OeW", "O\u{e9}"), Err(HashFault::Form)),
        ("$apr1$salt$hash".to_owned(), Err(HashFault::Form)),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(), Err(HashFault::Form)),
        ("secret".to_owned(), Err(HashFault::Form)),
        (String::new(), Err(HashFault::Form)),
    ] {
        assert_eq!(PasswordHash::parse(&text).map(|hash| hash.is_weak()), expected, "{text}");
    }
}

#[test]
fn a_pair_is_found_behind_its_scheme_or_refused() {
    use PresentedPassword::{Malformed, Nothing, One, Several};
    let one = |name: &str, password: &str| One(Pair { name: name.into(), password: password.as_bytes().into() });
    let encoded = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let long = "x".repeat(MAX_PASSWORD + 1);
    for (values, expected) in [
        (vec![], Nothing),
        (vec!["Bearer YTpi".to_owned()], Nothing),
        (vec!["Basics YTpi".to_owned()], Nothing),
        (vec!["Bas".to_owned()], Nothing),
        (vec!["Basic YTpi".to_owned()], one("a", "b")),
        (vec!["bASIC   YTpi ".to_owned()], one("a", "b")),
        (vec!["Basic YTo=".to_owned()], one("a", "")),
        (vec!["Basic YTo".to_owned()], one("a", "")),
        (vec![encoded("a:b:c")], one("a", "b:c")),
        (vec![encoded("ä:€")], one("ä", "€")),
        (vec![encoded(":b")], one("", "b")),
        (vec![encoded(&format!("a:{}", &long[1..]))], one("a", &long[1..])),
        (vec![encoded(&format!("a:{long}"))], Malformed),
        (vec![encoded("no colon")], Malformed),
        (vec![encoded("a:\u{0}")], Malformed),
        (vec![encoded("a\n:b")], Malformed),
        (vec!["Basic".to_owned()], Malformed),
        (vec!["Basic ".to_owned()], Malformed),
        (vec!["Basic YT pi".to_owned()], Malformed),
        (vec!["Basic YTpi==".to_owned()], Malformed),
        (vec!["Basic YTq".to_owned()], Malformed),
        (vec!["Basic a:b".to_owned()], Malformed),
        (vec!["Basic 4TpiYg==".to_owned()], Malformed),
        (vec!["Basic YTpi".to_owned(), "Basic YTpi".to_owned()], Several),
        (vec!["Basic YTpi".to_owned(), "Bearer x".to_owned()], one("a", "b")),
    ] {
        let headers = values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect();
        assert_eq!(presented(&headers), expected, "{values:?}");
    }
}

#[test]
fn a_password_is_not_in_the_debug_form() {
    let headers = [(AUTHORIZATION, "Basic YTpzZWNyZXQ=".parse().unwrap())].into_iter().collect();
    assert!(!format!("{:?}", presented(&headers)).contains("secret"));
}
