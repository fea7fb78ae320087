//! Tables of what is a gateway path and what is said about the rest.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn reads(text: &str, shape: &str, names: &[&str], catch_all: Option<&str>) {
    let template = Template::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    assert_eq!((template.shape().as_str(), template.as_str()), (shape, text));
    assert_eq!(template.names(), names, "{text}");
    assert_eq!(template.catch_all(), catch_all, "{text}");
}

#[track_caller]
fn refused(text: &str, says: &str) {
    match Template::parse(text) {
        Ok(template) => panic!("{text:?} was read as {}", template.shape()),
        Err(fault) => assert!(fault.message.contains(says), "{text:?}: {fault}, not {says:?}"),
    }
}

#[test]
fn a_template_has_a_shape_and_names() {
    reads("/", "/", &[], None);
    reads("/users/", "/users/", &[], None);
    reads("/users/{id}", "/users/{0}", &["id"], None);
    reads("/v{version}/report-{id}.json", "/v{0}/report-{1}.json", &["version", "id"], None);
    reads("/{base}...{head}/x", "/{0}...{1}/x", &["base", "head"], None);
    reads("/{a}-{b}-{c}", "/{0}-{1}-{2}", &["a", "b", "c"], None);
    reads("/files/{*rest}", "/files/{*0}", &["rest"], Some("rest"));
    reads("/{_x1}/{*rest}", "/{0}/{*1}", &["_x1", "rest"], Some("rest"));
}

#[test]
fn literals_are_spelt_like_request_paths() {
    reads("/us%65rs", "/users", &[], None);
    reads("/a%2fb%20{x}%c3%a9", "/a%2Fb%20{0}%C3%A9", &["x"], None);
    reads("/%7B{x}%7D", "/%7B{0}%7D", &["x"], None);
}

#[test]
fn a_path_that_no_request_can_have_is_refused() {
    refused("", "begins with `/`");
    refused("users", "write `/users`");
    refused("/a//b", "write one `/`");
    refused("/a/../b", "write the path they lead to");
    refused("/%2e%2e/b", "`..` segments");
    refused("/..;{x}", "`..` segments");
    refused("/a b", "write `%20`");
    refused("/café", "write `%C3%A9`");
    refused("/a|b", "write `%7C`");
    refused("/a\\b", "%5C");
    refused("/a\tb", "control characters");
    refused("/a%00", "control characters");
    refused("/a?x={x}", "query_params");
    refused("/a#top", "%23");
    refused("/100%", "%25");
    refused("/%4{x}1", "%25");
    refused("/%C3{x}%A9", "whole UTF-8");
    refused(&"/a".repeat(129), "129 segments");
}

#[test]
fn a_parameter_that_cannot_be_read_is_refused() {
    refused("/{id}/{id}", "`id` stands here twice");
    refused("/{}", "no parameter");
    refused("/{*}", "no parameter");
    refused("/{1a}", "no parameter");
    refused("/{a-b}", "no parameter");
    refused("/{é}", "no parameter");
    refused("/{rest:path}", "written `{*rest}`");
    refused("/{a", "without `}`");
    refused("/a}", "without `{`");
    refused("/{{a}}", "no parameter");
    refused("/{a}{b}", "nothing separates parameter `a`");
    refused("/{*a}/b", "whole last segment");
    refused("/{*a}/", "whole last segment");
    refused("/x{*a}", "whole last segment");
    refused("/{b}-{*a}", "whole last segment");
    refused("/{*a}.json", "whole last segment");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(/|[{}*:.%?a-z0-9]|\\PC){0,16}") {
        if let Ok(template) = Template::parse(&format!("/{text}")) {
            let named = template.shape().replace("{", "{_").replace("{_*", "{*_");
            prop_assert_eq!(Template::parse(&named).map(|again| again.shape()), Ok(template.shape()));
        }
    }
}
