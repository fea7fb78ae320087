//! CORS, as the Fetch standard has it: which pages of other origins may read an answer, and what they may send.
//!
//! The browser protects, the gateway only says: a request of a page that may not read the answer is answered all the
//! same, without the fields that would let it. Before a page may send what a form could not, its browser asks with a
//! preflight, which carries no credentials; it is for the route that the request itself will be for.
//!
//! What is said to one origin must not be given to another by a cache: where origins are listed, every answer says that
//! it varies by `Origin`, also one to a request without it. `*` is said only where it does not matter who asks.

use http::Method;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use smallvec::SmallVec;

use super::headers::vary_by;

/// What pages of other origins may do on a route.
///
/// Invariant: with `credentials` the pages are listed.
#[derive(Debug, PartialEq)]
pub struct Cors {
    /// Which pages.
    pub pages: Pages,
    /// The methods that they may use; `None`: those of the routes.
    pub methods: Option<Vec<Method>>,
    /// The fields that they may send; `None`: those that they ask for.
    pub headers: Option<HeaderValue>,
    /// The fields of an answer that they may read, beside the few that they always may.
    pub expose: Option<HeaderValue>,
    /// Whether cookies and the like may be sent along.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight, in seconds.
    pub max_age: Option<HeaderValue>,
}

/// Pages by their origin.
#[derive(Debug, PartialEq)]
pub enum Pages {
    /// All.
    Any,
    /// Those of these origins, in lower case.
    Listed(Vec<Box<str>>),
}

/// Whether a field of an answer is one that says something of CORS.
pub fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

/// The method that a preflight asks for; `None` for any other request.
pub fn asked_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Cors {
    /// Says in an answer to a request what pages may do with it. What the service has said of that is taken out.
    pub fn say(&self, method: &Method, request: &HeaderMap, answer: &mut HeaderMap) {
        let said: SmallVec<[HeaderName; 4]> = answer.keys().filter(|name| is_own(name)).cloned().collect();
        said.iter().for_each(|name| drop(answer.remove(name)));
        if matches!(self.pages, Pages::Listed(_)) {
            vary_by(answer, ORIGIN);
        }
        let Some(origin) = self.admitted(request).filter(|_| self.has(method)) else { return };
        self.admit(origin, answer);
        if let Some(expose) = &self.expose {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// The fields that answer a preflight. `methods` are those of the routes at its path that have these rules.
    pub fn preflight<'m>(&self, request: &HeaderMap, methods: impl Iterator<Item = &'m Method>) -> HeaderMap {
        let mut answer = HeaderMap::new();
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
            vary_by(&mut answer, name);
        }
        let Some(origin) = self.admitted(request) else { return answer };
        self.admit(origin, &mut answer);
        let methods: Vec<&str> = methods.filter(|method| self.has(method)).map(Method::as_str).collect();
        // Method names and commas are always a header's value.
        if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        match &self.headers {
            Some(headers) => drop(answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone())),
            None => request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().for_each(|asked| {
                answer.append(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }),
        }
        if let Some(seconds) = &self.max_age {
            answer.insert(ACCESS_CONTROL_MAX_AGE, seconds.clone());
        }
        answer
    }

    /// What the page that sends a request is told of its origin, if it may read the answer.
    fn admitted(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let listed = match &self.pages {
            Pages::Any => return Some(HeaderValue::from_static("*")),
            Pages::Listed(listed) => listed,
        };
        let mut origins = request.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        let is_listed = listed.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
        is_listed.then(|| origin.clone())
    }

    fn admit(&self, origin: HeaderValue, answer: &mut HeaderMap) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn has(&self, method: &Method) -> bool {
        // HEAD is answered by the routes of GET.
        let listed = if *method == Method::HEAD { &Method::GET } else { method };
        self.methods.as_ref().is_none_or(|methods| methods.contains(method) || methods.contains(listed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn text(headers: &HeaderMap) -> String {
        let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines.join(" | ").replace("access-control-", "ac-")
    }

    fn open() -> Cors {
        Cors { pages: Pages::Any, methods: None, headers: None, expose: None, credentials: false, max_age: None }
    }

    fn listed() -> Cors {
        Cors {
            pages: Pages::Listed(vec!["https://a.test".into(), "https://b.test:8443".into()]),
            methods: Some(vec![Method::GET, Method::PUT]),
            headers: Some(HeaderValue::from_static("x-a, x-b")),
            expose: Some(HeaderValue::from_static("x-total")),
            credentials: true,
            max_age: Some(HeaderValue::from(600)),
        }
    }

    #[test]
    fn only_listed_pages_may_read_and_caches_know_by_what_answers_vary() {
        const GRANTED: &str =
            "ac-allow-credentials: true | ac-allow-origin: https://a.test | ac-expose-headers: x-total | vary: origin";
        let (listed, open) = (listed(), open());
        for (cors, method, request, expected) in [
            (&listed, Method::GET, &[("origin", "https://a.test")][..], GRANTED),
            (&listed, Method::HEAD, &[("origin", "https://a.test")], GRANTED),
            (&listed, Method::POST, &[("origin", "https://a.test")], "vary: origin"),
            (&listed, Method::GET, &[("origin", "https://a.test:443")], "vary: origin"),
            (&listed, Method::GET, &[("origin", "http://a.test")], "vary: origin"),
            (&listed, Method::GET, &[("origin", "https://a.test.evil.test")], "vary: origin"),
            (&listed, Method::GET, &[("origin", "null")], "vary: origin"),
            (&listed, Method::GET, &[], "vary: origin"),
            (&listed, Method::GET, &[("origin", "https://a.test"), ("origin", "https://a.test")], "vary: origin"),
            (&open, Method::DELETE, &[("origin", "null")], "ac-allow-origin: *"),
            (&open, Method::GET, &[], "ac-allow-origin: *"),
        ] {
            let mut answer = fields(&[("access-control-allow-origin", "https://evil.test")]);
            cors.say(&method, &fields(request), &mut answer);
            assert_eq!(text(&answer), expected, "{method} {request:?}");
        }
    }

    #[test]
    fn a_preflight_is_told_what_the_request_may_be() {
        const VARY: &str = "vary: ac-request-headers | vary: ac-request-method | vary: origin";
        let (listed, open) = (listed(), open());
        let asked = [("access-control-request-headers", "x-a,content-type")];
        for (cors, origin, more, expected) in [
            (
                &listed,
                "https://b.test:8443",
                &asked[..],
                "ac-allow-credentials: true | ac-allow-headers: x-a, x-b | ac-allow-methods: GET | \
                 ac-allow-origin: https://b.test:8443 | ac-max-age: 600 | ",
            ),
            (&listed, "https://c.test", &asked, ""),
            (
                &open,
                "https://c.test",
                &asked,
                "ac-allow-headers: x-a,content-type | ac-allow-methods: GET, POST | ac-allow-origin: * | ",
            ),
            (&open, "https://c.test", &[], "ac-allow-methods: GET, POST | ac-allow-origin: * | "),
        ] {
            let mut request = fields(more);
            request.insert(ORIGIN, HeaderValue::from_static(origin));
            let answer = cors.preflight(&request, [Method::GET, Method::POST].iter());
            assert_eq!(text(&answer), format!("{expected}{VARY}"), "{origin}");
        }
    }

    #[test]
    fn a_preflight_has_an_origin_and_asks_for_a_method() {
        let (origin, put) = (("origin", "https://a.test"), ("access-control-request-method", "PUT"));
        for (method, request, expected) in [
            (Method::OPTIONS, &[origin, put][..], Some(Method::PUT)),
            (Method::OPTIONS, &[origin], None),
            (Method::OPTIONS, &[put], None),
            (Method::GET, &[origin, put], None),
            (Method::OPTIONS, &[origin, ("access-control-request-method", "P T")], None),
        ] {
            assert_eq!(asked_method(&method, &fields(request)), expected, "{method} {request:?}");
        }
    }
}
