//! The configuration and the random requests that `explain` and the gateway have to agree on.

/// Everybody's key is their name. Whoever has a plan and no name is called `somebody`. The numbers of plans are small enough that some requests are refused; they
/// are of a month, so that no refill falls into the test.
pub const CONFIG: &str = r#"
version: 1
listeners: [{ address: "127.0.0.1:0" }]
access_log: { path: "off" }
trusted_proxies: [TRUSTED]
services:
  users: { url: "http://ORIGIN/base" }
  own: { targets: [{ address: "ORIGIN" }], preserve_host: true }
authenticators:
  head: { api_key: { header: x-api-key } }
  link: { api_key: { query: key } }
  browser: { api_key: { cookie: session } }
  shown: { api_key: { header: x-shown-key, forward: true } }
plans:
  small: { total: 25/month, each_route: 15/month, routes: { search: 4/month }, concurrency: 4 }
  large: { total: [100000/month], each_route: 50000/day }
consumers:
  alice: { plan: small, groups: [staff, admins], api_keys: [{ sha256: 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90 }] }
  bob: { plan: large, api_keys: [{ sha256: 81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9 }] }
  carol: { plan: small, api_keys: [{ sha256: 4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5 }] }
  somebody: { plan: large, api_keys: [{ sha256: 729d7d638cef1b476c9ad1d5d275dc91fc253a026e0924d45b8995bcf828b01b }] }
defaults: { auth: public }
routes:
  - name: user
    methods: [GET, DELETE]
    gateway_path: /users/{id}
    service: users
    service_path: /v1/users/{id}?from={id}
    path_params: { id: { type: integer, minimum: 1 } }
    query_params: { limit: { type: integer, maximum: 100, default: 20 }, tag: { type: array, items: { type: string, maxLength: 4 }, optional: true } }
    header_params: { x-tenant: { type: string, pattern: "^[a-z]+$", default: main }, x-page: { type: integer, optional: true } }
    cookie_params: { theme: { enum: [light, dark], optional: true } }
    auth: [head, link]
  - name: me
    method: GET
    gateway_path: /users/me
    service: own
    auth: [shown, browser]
    request_headers: { allow: [accept, traceparent], set: { x-team: users } }
  - name: search
    method: GET
    gateway_path: /search/{*rest}
    service: users
    query_params: any
    auth: [head, browser]
    allow: { plans: [large] }
    deny_addresses: [203.0.113.0/24]
    cost: 2
    limits: [{ rate: 100000/month, by: "header:x-tenant" }, { rate: 90000/month, by: client_ip }]
  - name: order
    methods: [POST, PUT]
    gateway_path: /orders
    service: users
    service_path: /v2/orders
    body_params:
      product: { type: string, minLength: 1 }
      quantity: { type: integer, default: 1 }
      lines: { type: array, items: { type: object, properties: { sku: { type: string }, note: { type: string } }, required: [sku], additionalProperties: false }, optional: true }
    max_body: 2KiB
    undeclared: drop
  - name: strict
    method: POST
    gateway_path: /strict
    service: own
    query_params: { page: { type: integer, optional: true } }
    body: { schema: { type: object, required: [a], properties: { a: { type: integer } } } }
    undeclared: reject
  - name: form
    method: POST
    gateway_path: /forms/{kind}
    service: users
    form_params: { title: { type: string, maxLength: 8 }, count: { type: integer, default: 3 } }
    auth: [head]
    allow: { consumers: [alice, bob, somebody] }
    request_headers: { remove: [x-noise] }
  - name: upload
    method: POST
    gateway_path: /uploads
    service: users
    form_params: { title: { type: string }, file: { type: file, max_size: 1KiB, content_types: [text/plain, image/*] } }
  - name: raw
    methods: [GET, POST]
    gateway_path: /raw/{*rest}
    service: users
    query_params: any
    body: any
    encoded_slash: forward
    max_body: 1KiB
  - name: seen
    methods: [GET, POST]
    gateway_path: /seen/{id}
    service: own
    mode: observe
    path_params: { id: { type: integer } }
    query_params: { limit: { type: integer, maximum: 9 } }
    body_params: { a: { type: integer } }
  - name: inner
    method: GET
    host: "*.inner.test"
    gateway_path: /users/{id}
    service: own
"#;

/// Random numbers from a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// Who sends a request.
pub enum By {
    /// Whoever its credential says, if there is one.
    Credential,
    /// This consumer is given.
    Consumer(&'static str),
    /// A plan is given.
    Plan,
}

/// A request as it is explained, and as it is sent: with a key where the caller is given to `explain`.
pub struct Case {
    /// Without a key, where the caller is given.
    pub explained: Vec<u8>,
    /// With one.
    pub sent: Vec<u8>,
    /// How `explain` knows the caller.
    pub by: By,
}

/// A request, and who sends it.
pub fn case(random: &mut Random) -> Case {
    let by = match random.below(8) {
        0 => By::Consumer("alice"),
        1 => By::Consumer("bob"),
        2 => By::Consumer("carol"),
        3 => By::Plan,
        _ => By::Credential,
    };
    let (head, body) = request(random, matches!(by, By::Credential));
    let whole = |key: &str| [format!("{head}{key}\r\n").as_bytes(), &body].concat();
    let key = |name: &str| match head.contains(" /users/me") {
        true => format!("cookie: session={name}\r\n"),
        false => format!("x-api-key: {name}\r\n"),
    };
    let sent = match by {
        By::Credential => whole(""),
        By::Consumer(name) => whole(&key(name)),
        By::Plan => whole(&key("somebody")),
    };
    Case { explained: whole(""), sent, by }
}

/// Head and body of a request that is often right, and sometimes wrong in one of many ways.
fn request(random: &mut Random, with_credential: bool) -> (String, Vec<u8>) {
    let (method, mut path) = match random.below(14) {
        0..=2 => {
            (random.of(&["GET", "DELETE", "HEAD"]), format!("/users/{}", random.of(&["7", "007", "0", "x", "+3"])))
        }
        3 => (random.of(&["GET", "OPTIONS"]), "/users/me".to_owned()),
        4 => ("GET", format!("/search/{}", random.of(&["", "a/b", "a%2Fb", "caf%C3%A9", "a%20b"]))),
        5..=6 => (random.of(&["POST", "PUT", "PATCH"]), "/orders".to_owned()),
        7 => ("POST", "/strict".to_owned()),
        8 => ("POST", format!("/forms/{}", random.of(&["a", "%41", "b c"]).replace(' ', "%20"))),
        9 => ("POST", "/uploads".to_owned()),
        10..=11 => (random.of(&["GET", "POST"]), format!("/raw/{}", random.of(&["", "x", "x%2fy", "%7e/~"]))),
        12 => (random.of(&["GET", "POST"]), format!("/seen/{}", random.of(&["1", "one"]))),
        _ => (
            random.of(&["GET", "TRACE", "BREW"]),
            random.of(&["/nothing", "/users/", "/users/../x", "/a//b", "/%zz", "*"]).to_owned(),
        ),
    };
    let mut query = Vec::new();
    for _ in 0..random.below(4) {
        query.push(random.of(&[
            "limit=5",
            "limit=05",
            "limit=500",
            "limit=x",
            "tag=a",
            "tag=b%20c",
            "tag=toolong",
            "debug=1",
            "page=2",
            "a",
            "a=%C3%BC",
            "lim%69t=6",
        ]));
    }
    let mut fields = vec![format!("host: {}", random.of(&["gateway.test", "a.inner.test", "gateway.test:8080"]))];
    let user = random.of(&["alice", "bob", "bob", "carol", "eve"]);
    match random.below(8) {
        _ if !with_credential => {}
        0..=3 => fields.push(format!("x-api-key: {user}")),
        4 => fields.push(format!("x-shown-key: {user}")),
        5 => fields.push(format!("cookie: a=b; session={user}; theme={}", random.of(&["light", "dark", "pink"]))),
        6 => query.push(match user {
            "alice" => "key=alice",
            "bob" => "key=bob",
            _ => "key=eve",
        }),
        _ => {}
    }
    for _ in 0..random.below(4) {
        fields.push(
            random
                .of(&[
                    "accept: */*",
                    "x-tenant: blue",
                    "x-tenant: BLUE",
                    "x_tenant: green",
                    "x-page: 04",
                    "x-page: four",
                    "x-noise: 1",
                    "x-consumer-name: root",
                    "x-forwarded-for: 203.0.113.9",
                    "x-forwarded-proto: https",
                    "connection: close, x-noise",
                    "connection: x-forwarded-for",
                    "traceparent: 00-1",
                    "te: trailers",
                    "cookie: theme=light",
                    "cookie: other=1",
                    "forwarded: for=1.2.3.4",
                    "upgrade: h2c",
                    "user-agent: random/1",
                ])
                .to_owned(),
        );
    }
    if random.one_in(10) {
        fields.push(format!("x-request-id: given-{}", random.next()));
    }
    let mut body = Vec::new();
    if method != "HEAD" && (method == "POST" || method == "PUT" || random.one_in(12)) {
        let (media, content) = content(random, &path);
        body = content;
        if !random.one_in(8) {
            fields.push(format!("content-type: {media}"));
        }
        if random.one_in(5) {
            fields.push("transfer-encoding: chunked".to_owned());
            let size = if body.is_empty() { String::new() } else { format!("{:x}\r\n", body.len()) };
            let end = if body.is_empty() { "0\r\n\r\n" } else { "\r\n0\r\n\r\n" };
            body = [size.as_bytes(), &body, end.as_bytes()].concat();
        } else {
            fields.push(format!("content-length: {}", body.len()));
        }
    }
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    (format!("{method} {path} HTTP/1.1\r\n{}\r\n", fields.join("\r\n")), body)
}

fn content(random: &mut Random, path: &str) -> (&'static str, Vec<u8>) {
    let json = [
        r#"{"product":"tea","quantity":2}"#,
        r#"{"product":"tea","colour":"red"}"#,
        r#"{"product":""}"#,
        r#"{"quantity":1e400}"#,
        r#"{"product":"tea","lines":[{"sku":"a","note":"n"},{"sku":"b"}]}"#,
        r#"{"product":"tea","lines":[{"sku":1}]}"#,
        r#"{"a":1,"b":2}"#,
        r#"{"a":1.0}"#,
        r#"{"a":1,"a":2}"#,
        "{",
        "[]",
        "null",
        "",
        r#"{ "product" : "\u0074ea" , "x":{} }"#,
    ];
    let forms = ["title=abc", "title=abc&count=07", "title=toolongtitle", "count=x", "title=a&title=b&more=1", ""];
    let file = |media: &str, content: &str| {
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"title\"\r\n\r\nhello\r\n--b\r\ncontent-disposition: form-data; \
             name=\"file\"; filename=\"a.txt\"\r\ncontent-type: {media}\r\nx-more: 1\r\n\r\n{content}\r\n--b--\r\n"
        )
    };
    if random.one_in(10) {
        return ("application/octet-stream", vec![b'x'; 3_000]);
    }
    match path.split('/').nth(1) {
        Some("forms") => ("application/x-www-form-urlencoded", random.of(&forms).into()),
        Some("uploads") => {
            let content = "z".repeat([1, 500, 2_000][random.below(3)]);
            let whole = file(random.of(&["text/plain", "image/png", "text/html"]), &content);
            let whole = if random.one_in(6) { whole.replace("--b--", "--b") } else { whole };
            ("multipart/form-data; boundary=b", whole.into())
        }
        _ => {
            (random.of(&["application/json", "application/json; charset=utf-8", "text/plain"]), random.of(&json).into())
        }
    }
}
