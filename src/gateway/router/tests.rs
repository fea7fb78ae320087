//! Tables of which route a request gets, through [`routes`].

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// `"/users"` is a `GET` route, `"POST /users"` names its methods, `"GET api.example.com/users"` its host too.
#[track_caller]
fn routes<const N: usize>(specs: [&'static str; N]) -> Router<&'static str> {
    build(&specs).unwrap_or_else(|conflict| panic!("conflict with {}: {conflict}", conflict.other))
}

fn build<'s>(specs: &[&'s str]) -> Result<Router<&'s str>, Conflict<&'s str>> {
    let mut builder = RouterBuilder::new();
    for spec in specs {
        let (methods, target) = spec.split_once(' ').unwrap_or(("GET", spec));
        let (host, path) = target.split_at(target.find('/').unwrap());
        let host = (!host.is_empty()).then(|| HostPattern::parse(host).unwrap());
        let methods = methods.split(',').map(|method| method.parse().unwrap()).collect::<Vec<Method>>();
        builder.add(host.as_ref(), &methods, &Template::parse(path).unwrap(), *spec)?;
    }
    Ok(builder.build())
}

/// The answer to one request: the route's spec and the captures, or what `Miss` says.
#[derive(Debug)]
struct Answer(Result<(&'static str, Vec<String>), Option<String>>);

impl Router<&'static str> {
    fn ask(&self, host: Option<&str>, method: &str, path: &str) -> Answer {
        let path = RequestPath::parse(path).unwrap();
        Answer(match self.find(host, &method.parse().unwrap(), &path) {
            Ok(found) => Ok((*found.route, found.captures.iter().map(|&text| text.to_owned()).collect())),
            Err(Miss::NotFound) => Err(None),
            Err(Miss::MethodNotAllowed(allow)) => {
                assert_eq!(self.find_allow(host, &path).as_ref(), Some(&allow));
                Err(Some(allow.to_string()))
            }
        })
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(None, "GET", path)
    }

    fn at(&self, host: &str, path: &str) -> Answer {
        self.ask(Some(host), "GET", path)
    }
}

impl Answer {
    #[track_caller]
    fn hits(self, route: &str) {
        assert_eq!(self.0.expect("a match").0, route);
    }

    #[track_caller]
    fn hits_with<const N: usize>(self, route: &str, captures: [&str; N]) {
        assert_eq!(self.0.expect("a match"), (route, captures.map(str::to_owned).to_vec()) as (&str, _));
    }

    #[track_caller]
    fn misses(self) {
        assert_eq!(self.0, Err(None));
    }

    #[track_caller]
    fn only_allows(self, allow: &str) {
        assert_eq!(self.0, Err(Some(allow.to_owned())));
    }
}

/// Refused in both orders, and `segment` fits both.
#[track_caller]
fn rivals(specs: [&str; 2], segment: &str) {
    build(&[specs[1], specs[0]]).expect_err("a conflict in this order");
    let conflict = build(&specs).expect_err("a conflict");
    let reason = Ambiguity::Rivals { segment: segment.to_owned() };
    assert_eq!(conflict, Conflict { other: specs[0], method: Method::GET, reason });
}

#[track_caller]
fn same_shape(specs: [&str; 2]) {
    let conflict = build(&specs).expect_err("a conflict");
    assert_eq!((conflict.other, conflict.reason), (specs[0], Ambiguity::SameShape));
}

#[track_caller]
fn coexist(specs: [&str; 2]) {
    for specs in [specs, [specs[1], specs[0]]] {
        if let Err(conflict) = build(&specs) {
            panic!("{specs:?}: {conflict}");
        }
    }
}

#[test]
fn a_literal_matches_itself_only() {
    let router = routes(["/", "/users", "/users/me/", "/a%2Fb", "/caf%C3%A9"]);
    router.get("/").hits("/");
    router.get("/users").hits_with("/users", []);
    router.get("/us%65rs").hits("/users");
    router.get("/a%2fb").hits("/a%2Fb");
    router.get("/café").hits("/caf%C3%A9");
    router.get("/Users").misses();
    router.get("/user").misses();
    router.get("/users2").misses();
    router.get("/a/b").misses();
}

#[test]
fn a_trailing_slash_is_another_path() {
    let router = routes(["/users", "/orders/", "/x/{id}"]);
    router.get("/users/").misses();
    router.get("/orders").misses();
    router.get("/orders/").hits("/orders/");
    router.get("/x/1/").misses();
    router.get("/x/").misses();
}

#[test]
fn a_parameter_is_one_whole_segment_and_never_empty() {
    let router = routes(["/users/{id}", "/users/{id}/orders/{order}", "/v{version}/x"]);
    router.get("/users/7").hits_with("/users/{id}", ["7"]);
    router.get("/users/a%20b%2Fc").hits_with("/users/{id}", ["a%20b%2Fc"]);
    router.get("/users/7/orders/8").hits_with("/users/{id}/orders/{order}", ["7", "8"]);
    router.get("/users/").misses();
    router.get("/users/7/orders").misses();
    router.get("/v2/x").hits_with("/v{version}/x", ["2"]);
    router.get("/v/x").misses();
}

#[test]
fn static_segment_wins_over_parameter_and_parameter_over_catch_all() {
    let router = routes(["/users/{*rest}", "/users/{id}", "/users/me"]);
    router.get("/users/me").hits_with("/users/me", []);
    router.get("/users/you").hits_with("/users/{id}", ["you"]);
    router.get("/users/me/x").hits_with("/users/{*rest}", ["me/x"]);
    router.get("/users/").hits_with("/users/{*rest}", [""]);
}

#[test]
fn the_first_differing_segment_decides() {
    let router = routes(["/{x}/b", "/a/{x}", "/api/{v}/{*rest}", "/api/{*rest}", "/{x}.json/{y}"]);
    router.get("/a/b").hits_with("/a/{x}", ["b"]);
    router.get("/c/b").hits_with("/{x}/b", ["c"]);
    router.get("/api/v1/").hits_with("/api/{v}/{*rest}", ["v1", ""]);
    router.get("/api/v1").hits_with("/api/{*rest}", ["v1"]);
    router.get("/x.json/b").hits_with("/{x}.json/{y}", ["x", "b"]);
}

#[test]
fn a_dead_end_gives_way_to_the_next_template() {
    let router = routes(["/a/b/c", "/a/{x}/d", "/{y}/b/e", "/{*rest}", "/a{x}/f", "/{x}b/g"]);
    router.get("/a/b/c").hits("/a/b/c");
    router.get("/a/b/d").hits_with("/a/{x}/d", ["b"]);
    router.get("/a/b/e").hits_with("/{y}/b/e", ["a"]);
    router.get("/a/b/z").hits_with("/{*rest}", ["a/b/z"]);
    router.get("/ab/f").hits_with("/a{x}/f", ["b"]);
    router.get("/ab/g").hits_with("/{x}b/g", ["a"]);
    router.get("/").hits_with("/{*rest}", [""]);
}

#[test]
fn a_catch_all_takes_the_rest_also_when_it_is_empty() {
    let router = routes(["/files/{*rest}", "/files/{id}", "/files/x/y"]);
    router.get("/files/").hits_with("/files/{*rest}", [""]);
    router.get("/files/a").hits_with("/files/{id}", ["a"]);
    router.get("/files/a/").hits_with("/files/{*rest}", ["a/"]);
    router.get("/files/a/b%20c").hits_with("/files/{*rest}", ["a/b%20c"]);
    router.get("/files/x/y").hits("/files/x/y");
    router.get("/files/x/z").hits_with("/files/{*rest}", ["x/z"]);
    router.get("/files").misses();
    routes(["/f/{*rest}", "/f/"]).get("/f/").hits("/f/");
}

#[test]
fn the_more_specific_pattern_wins() {
    let router = routes(["/{x}", "/{x}.json", "/{x}.min.json"]);
    router.get("/a").hits_with("/{x}", ["a"]);
    router.get("/a.json").hits_with("/{x}.json", ["a"]);
    router.get("/a.min.json").hits_with("/{x}.min.json", ["a"]);
    router.get("/.min.json").hits_with("/{x}.json", [".min"]);
    router.get("/.json").hits_with("/{x}", [".json"]);
    let router = routes(["/{x}", "/v{x}", "/w{x}", "/v{x}.json", "/v{x}-{y}.json"]);
    router.get("/v2").hits_with("/v{x}", ["2"]);
    router.get("/v").hits_with("/{x}", ["v"]);
    router.get("/w2").hits_with("/w{x}", ["2"]);
    router.get("/u2").hits_with("/{x}", ["u2"]);
    router.get("/v2.json").hits_with("/v{x}.json", ["2"]);
    router.get("/v2-3.json").hits_with("/v{x}-{y}.json", ["2", "3"]);
    let router = routes(["/{x}", "/v{x}", "/ve{x}"]);
    router.get("/ve").hits_with("/v{x}", ["e"]);
    router.get("/vex").hits_with("/ve{x}", ["x"]);
}

#[test]
fn many_patterns_of_one_segment_are_told_apart() {
    let mut builder = RouterBuilder::new();
    let framed = (0..200).flat_map(|nth| ["json", "x"].map(|end| format!("/r{nth}-{{id}}.{end}")));
    let unframed = (0..200).map(|nth| format!("/r{nth}-{{id}}"));
    for text in unframed.chain(framed).chain(["/{id}".to_owned(), "/r7-{a}-{b}.x".to_owned()]) {
        builder.add(None, &[Method::GET], &Template::parse(&text).unwrap(), text).unwrap();
    }
    let router = builder.build();
    for (path, template, capture) in [
        ("/r0-1.json", "/r0-{id}.json", "1"),
        ("/r199-1.json", "/r199-{id}.json", "1"),
        ("/r42-a.b.x", "/r42-{id}.x", "a.b"),
        ("/r7-a-b.x", "/r7-{a}-{b}.x", "a"),
        ("/r7-a.x", "/r7-{id}.x", "a"),
        ("/r42-a.y", "/r42-{id}", "a.y"),
        ("/r42-.json", "/r42-{id}", ".json"),
        ("/r200-a", "/{id}", "r200-a"),
        ("/r1-", "/{id}", "r1-"),
        ("/r", "/{id}", "r"),
    ] {
        let path = RequestPath::parse(path).unwrap();
        let found = router.find(None, &Method::GET, &path).unwrap();
        assert_eq!((found.route.as_str(), found.captures[0]), (template, capture));
    }
}

#[test]
fn several_parameters_in_a_segment_split_at_the_last_separator() {
    let router = routes(["/{name}.{ext}", "/{a}/{b}...{c}", "/{a}-{b}-{c}/x", "/{a}aa{b}/y"]);
    router.get("/a.txt").hits_with("/{name}.{ext}", ["a", "txt"]);
    router.get("/a.tar.gz").hits_with("/{name}.{ext}", ["a.tar", "gz"]);
    router.get("/a.b.").hits_with("/{name}.{ext}", ["a", "b."]);
    router.get("/.a").misses();
    router.get("/a.").misses();
    router.get("/x/main...dev").hits_with("/{a}/{b}...{c}", ["x", "main", "dev"]);
    router.get("/x/a....b").hits_with("/{a}/{b}...{c}", ["x", "a.", "b"]);
    router.get("/1-2-3-4/x").hits_with("/{a}-{b}-{c}/x", ["1-2", "3", "4"]);
    router.get("/1-2/x").misses();
    router.get("/xaaa/y").hits_with("/{a}aa{b}/y", ["x", "a"]);
}

#[test]
fn no_literal_matches_a_part_of_an_escape() {
    let router = routes(["/{x}20", "/a/2{x}", "/b/{x}0{y}", "/c/{x}%20", "/d/{x}2%22{y}"]);
    router.get("/a%20").misses();
    router.get("/a%2020").hits_with("/{x}20", ["a%20"]);
    router.get("/a/%2F").misses();
    router.get("/b/a%20b").misses();
    router.get("/b/a0%20b").hits_with("/b/{x}0{y}", ["a", "%20b"]);
    router.get("/c/a%20").hits_with("/c/{x}%20", ["a"]);
    router.get("/d/a2%22%22b").hits_with("/d/{x}2%22{y}", ["a", "%22b"]);
}

#[test]
fn more_captures_than_fit_inline_are_kept() {
    routes(["/{a}/{b}/{c}/{d}/{e}/{f}"])
        .get("/1/2/3/4/5/6")
        .hits_with("/{a}/{b}/{c}/{d}/{e}/{f}", ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn another_method_does_not_hide_a_route() {
    let router = routes(["POST /users/me", "/users/{id}", "PUT,DELETE /users/{id}", "PURGE /users/{x}"]);
    router.get("/users/me").hits_with("/users/{id}", ["me"]);
    router.ask(None, "POST", "/users/me").hits("POST /users/me");
    router.ask(None, "DELETE", "/users/me").hits("PUT,DELETE /users/{id}");
    router.ask(None, "PATCH", "/users/me").only_allows("GET, HEAD, POST, PUT, DELETE, OPTIONS, PURGE");
    router.ask(None, "POST", "/users/7").only_allows("GET, HEAD, PUT, DELETE, OPTIONS, PURGE");
    router.ask(None, "PURGE", "/users/7").hits("PURGE /users/{x}");
    router.ask(None, "POST", "/nothing").misses();
}

#[test]
fn head_is_answered_by_a_get_route() {
    let router = routes(["/a", "GET,HEAD /b", "HEAD /c/{x}", "/c/{x}", "/c/d", "POST /p"]);
    router.ask(None, "HEAD", "/a").hits("/a");
    router.ask(None, "HEAD", "/b").hits("GET,HEAD /b");
    router.ask(None, "HEAD", "/c/1").hits("HEAD /c/{x}");
    router.ask(None, "HEAD", "/c/d").hits("HEAD /c/{x}");
    router.ask(None, "HEAD", "/p").only_allows("POST, OPTIONS");
    router.ask(None, "HEAD", "/z").misses();
}

#[test]
fn options_is_not_allowed_unless_declared_but_listed() {
    let router = routes(["/a", "OPTIONS /b", "HEAD /h"]);
    router.ask(None, "OPTIONS", "/a").only_allows("GET, HEAD, OPTIONS");
    router.ask(None, "OPTIONS", "/b").hits("OPTIONS /b");
    router.get("/b").only_allows("OPTIONS");
    router.get("/h").only_allows("HEAD, OPTIONS");
    assert_eq!(router.find_allow(None, &RequestPath::parse("/z").unwrap()), None);
}

#[test]
fn methods_are_case_sensitive() {
    routes(["/a"]).ask(None, "get", "/a").only_allows("GET, HEAD, OPTIONS");
}

#[test]
fn the_most_specific_host_wins() {
    let router = routes(["/x", "api.example.com/x", "*.example.com/x", "*.eu.example.com/x"]);
    router.at("api.example.com", "/x").hits("api.example.com/x");
    router.at("www.example.com", "/x").hits("*.example.com/x");
    router.at("a.b.example.com", "/x").hits("*.example.com/x");
    router.at("a.eu.example.com", "/x").hits("*.eu.example.com/x");
    router.at("eu.example.com", "/x").hits("*.example.com/x");
    router.at("example.com", "/x").hits("/x");
    router.at("badexample.com", "/x").hits("/x");
    router.at("example.org", "/x").hits("/x");
    router.get("/x").hits("/x");
}

#[test]
fn a_host_is_compared_without_case_port_and_final_dot() {
    let router = routes(["api.example.com/x", "*.example.org/x"]);
    for host in
        ["API.Example.COM", "api.example.com:8080", "api.example.com.", "api.example.com.:443", "api.example.com:"]
    {
        router.at(host, "/x").hits("api.example.com/x");
    }
    let long = format!("{}.example.org", "a".repeat(300));
    for host in
        ["", ".", "api.example.com..", "api.example.com:x", "..example.org", ".example.org", "a b.example.org", &long]
    {
        router.at(host, "/x").misses();
    }
    for host in ["[::1]:80", "[::1]", "évil.example.org", "a:80.example.org", "example.org", "a@b.example.org"] {
        router.at(host, "/x").misses();
    }
    router.at("A.example.ORG:1", "/x").hits("*.example.org/x");
}

#[test]
fn a_host_without_the_path_gives_way_to_a_less_specific_one() {
    let router = routes([
        "/health",
        "/a/{x}",
        "POST /shared",
        "*.example.com/w",
        "DELETE *.example.com/shared",
        "api.example.com/a/b",
        "api.example.com/shared",
    ]);
    router.at("api.example.com", "/health").hits("/health");
    router.at("api.example.com", "/w").hits("*.example.com/w");
    router.at("api.example.com", "/a/b").hits("api.example.com/a/b");
    router.at("api.example.com", "/a/c").hits_with("/a/{x}", ["c"]);
    router.ask(Some("api.example.com"), "POST", "/shared").hits("POST /shared");
    router.ask(Some("api.example.com"), "HEAD", "/shared").hits("api.example.com/shared");
    router.ask(Some("api.example.com"), "PUT", "/shared").only_allows("GET, HEAD, POST, DELETE, OPTIONS");
    router.ask(Some("x.example.com"), "PUT", "/shared").only_allows("POST, DELETE, OPTIONS");
    router.ask(None, "PUT", "/shared").only_allows("POST, OPTIONS");
    router.at("api.example.com", "/none").misses();
}

#[test]
fn two_templates_of_one_shape_conflict() {
    same_shape(["/users/{id}", "/users/{name}"]);
    same_shape(["/users", "/us%65rs"]);
    same_shape(["/{a}/{*b}", "/{c}/{*d}"]);
    same_shape(["/{a}-{b}", "/{x}-{y}"]);
    same_shape(["api.example.com/x", "api.example.com/x"]);
    same_shape(["GET,PUT /x", "POST,PUT /x"]);
}

#[test]
fn routes_of_other_methods_hosts_or_shapes_coexist() {
    coexist(["GET /x", "POST /x"]);
    coexist(["/x", "api.example.com/x"]);
    coexist(["*.example.com/x", "example.com/x"]);
    coexist(["/x", "/x/"]);
    coexist(["/f/{id}", "/f/{*rest}"]);
    coexist(["/f/", "/f/{*rest}"]);
    coexist(["/{x}/b", "/a/{x}"]);
    coexist(["/a%2Fb", "/a/b"]);
    build(&["GET,GET /x"]).expect("a method given twice counts once");
}

#[test]
fn rivals_that_can_match_one_path_conflict() {
    rivals(["/a{x}", "/{x}b"], "axb");
    rivals(["/{a}-{b}", "/{a}.{b}"], "x.x-x");
    rivals(["/v{x}", "/{x}.json"], "vx.json");
    rivals(["/a{x}/{y}", "/{x}b/c"], "axb");
    rivals(["/a{x}/c", "/{x}b/{y}"], "axb");
    rivals(["/a{x}/{*r}", "/{x}b/c/d"], "axb");
    rivals(["/a{x}/c/", "/{x}b/{*r}"], "axb");
    rivals(["/s/{i}/a{x}/p{y}q", "/s/{j}/{x}b/{z}q"], "axb");
}

#[test]
fn rivals_that_no_path_fits_coexist() {
    coexist(["/a{x}", "/b{x}"]);
    coexist(["/{x}a", "/{x}b"]);
    coexist(["/{x}0", "/{x}%20"]);
    coexist(["/a{x}/c", "/{x}b/d"]);
    coexist(["/a{x}/c", "/{x}b/c/d"]);
    coexist(["/a{x}/{y}", "/{x}b/"]);
    coexist(["/a{x}", "/{x}b/{*r}"]);
    coexist(["/a{x}/p{y}", "/{x}b/q{z}"]);
    coexist(["/{a}-{b}", "/{a}-{b}-{c}"]);
    coexist(["/a-{x}", "/{a}-{b}"]);
    coexist(["/m/a{x}", "/n/{x}b"]);
}

#[test]
fn a_conflicting_route_is_added_for_no_method() {
    let mut builder = RouterBuilder::new();
    let template = Template::parse("/x").unwrap();
    builder.add(None, &[Method::PUT], &template, 1).unwrap();
    let conflict = builder.add(None, &[Method::GET, Method::PUT], &template, 2).unwrap_err();
    assert_eq!((conflict.other, conflict.method), (1, Method::PUT));
    builder.add(None, &[Method::GET], &template, 3).unwrap();
}

#[test]
fn a_host_pattern_that_no_host_has_is_refused() {
    for (text, says) in [
        ("", "leave it out"),
        ("*", "leave it out"),
        ("*.", "leave it out"),
        ("a.*.com", "`*` stands"),
        ("*a.com", "`*` stands"),
        ("*.*.com", "`*` stands"),
        ("a.com:80", "without a port"),
        ("http://a.com", "without a port"),
        ("[::1]", "without a port"),
        ("A.com", "write `a.com`"),
        ("a..com", "no host name"),
        (".a.com", "no host name"),
        ("a.com.", "no host name"),
        ("é.com", "no host name"),
        ("a/b", "no host name"),
    ] {
        let fault = HostPattern::parse(text).expect_err(text);
        assert!(fault.message.contains(says), "{text:?}: {fault}");
    }
}

/// Few different texts, so that random routes and random paths meet.
fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "abb", "b-a", "a.b"]).prop_map(str::to_owned)
}

fn path_of(segments: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::collection::vec(segments, 1..4), prop::sample::select(vec!["", "/"]))
        .prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")))
}

fn template() -> impl Strategy<Value = String> {
    let patterns = vec!["{}", "a{}", "{}b", "a{}b", "{}-{}", "{}.{}", "ab{}"];
    let segments = prop_oneof![segment(), prop::sample::select(patterns).prop_map(str::to_owned)];
    (path_of(segments), prop::sample::select(vec!["", "", "/{}"])).prop_map(|(path, rest)| {
        let path = path.strip_suffix('/').filter(|_| !rest.is_empty()).unwrap_or(&path).to_owned();
        let rest = rest.replace("{}", "{*rest}");
        let mut names = (b'p'..).map(|name| format!("{{{}}}", char::from(name)));
        let mut named = String::new();
        for (nth, text) in path.split("{}").enumerate() {
            named.push_str(&if nth > 0 { names.next().expect("an open range") } else { String::new() });
            named.push_str(text);
        }
        named + &rest
    })
}

/// Says what a template matches in the plainest way: by trying every length of every parameter.
fn fits(template: &str, path: &str) -> bool {
    if template == "{*rest}" {
        return true;
    }
    let Some((parameter, after)) = template.split_at_checked(3).filter(|_| template.starts_with('{')) else {
        return match (template.chars().next(), path.chars().next()) {
            (Some(own), Some(other)) => own == other && fits(&template[1..], &path[1..]),
            (own, other) => own == other,
        };
    };
    assert!(parameter.ends_with('}'));
    (1..=path.len()).take_while(|end| !path[..*end].contains('/')).any(|end| fits(after, &path[end..]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn literals_match_as_a_set_of_texts_does(
        known in prop::collection::hash_set(path_of(segment()), 0..20),
        asked in prop::collection::vec(path_of(segment()), 1..20),
    ) {
        let mut builder = RouterBuilder::new();
        for path in &known {
            builder.add(None, &[Method::GET], &Template::parse(path).unwrap(), path.clone()).unwrap();
        }
        let router = builder.build();
        for path in asked {
            let parsed = RequestPath::parse(&path).unwrap();
            let found = router.find(None, &Method::GET, &parsed).ok().map(|found| found.route);
            prop_assert_eq!(found, known.get(&path));
        }
    }

    #[test]
    fn a_path_is_found_when_some_template_matches_it_in_whatever_order_they_came(
        templates in prop::collection::vec(template(), 1..12),
        asked in prop::collection::vec(path_of(segment()), 1..12),
    ) {
        let (router, kept) = router_of(templates.iter());
        // A route that a conflict kept out in one order may be in for another: only those in count.
        let (reversed, kept_reversed) = router_of(kept.iter().rev());
        prop_assert_eq!(kept.len(), kept_reversed.len());
        for path in &asked {
            let parsed = RequestPath::parse(path).unwrap();
            let found = router.find(None, &Method::GET, &parsed).ok();
            let other = reversed.find(None, &Method::GET, &parsed).ok();
            prop_assert_eq!(&found, &other, "{} among {:?}", path, kept);
            let matching = kept.iter().filter(|template| fits(template, path)).collect::<HashSet<_>>();
            match found {
                Some(found) => prop_assert!(matching.contains(found.route), "{} is not {}", path, found.route),
                None => prop_assert!(matching.is_empty(), "{} is missed by {:?}", path, matching),
            }
        }
    }
}

/// The router of those that do not conflict with an earlier one.
fn router_of<'t>(templates: impl Iterator<Item = &'t String>) -> (Router<String>, Vec<String>) {
    let mut builder = RouterBuilder::new();
    let mut kept = Vec::new();
    for text in templates {
        let added = builder.add(None, &[Method::GET], &Template::parse(text).unwrap(), text.clone());
        if added.is_ok() {
            kept.push(text.clone());
        }
    }
    (builder.build(), kept)
}
