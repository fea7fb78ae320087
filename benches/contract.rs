//! What checking a request against its contract costs: path, query, fields, form and JSON body,
//! each as a client would send it.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value, json};
use tollgate::policy::contract::{
    BodyContract, Contract, CookieContract, CookieParameter, Declared, FieldContract, FormContract, HeaderParameter,
    JsonContract, Member, PathContract, PathValues, Position, QueryContract, SchemaFault, TextParameter, Undeclared,
    Violations,
};

fn each<T>(schemas: Value, compile: impl Fn(Declared<'_>) -> Result<T, Vec<SchemaFault>>) -> Vec<T> {
    let schemas: Map<String, Value> = serde_json::from_value(schemas).expect("an object of schemas");
    let one = |(name, schema): (&String, &Value)| {
        let schema = schema.as_object().expect("a schema");
        compile(Declared { name, schema, optional: false, default: None }).expect("a schema without faults")
    };
    schemas.iter().map(one).collect()
}

fn text(position: Position, schemas: Value) -> Vec<TextParameter> {
    each(schemas, |declared| TextParameter::compile(position, declared))
}

fn contract(query: Value, body: BodyContract) -> Contract {
    let path = PathContract::new(&["id"], text(Position::Path, json!({"id": {"type": "integer", "minimum": 1}})));
    let query = QueryContract::declared(text(Position::Query, query), Undeclared::Drop);
    Contract { path: path.expect("the template has it"), query, fields: FieldContract::default(), body }
}

fn bench_query(criterion: &mut Criterion, name: &str, schemas: Value, raw: &str) {
    let contract = contract(schemas, BodyContract::None);
    let mut out = String::with_capacity(256);
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut violations = Violations::new();
            contract.check_query(Some(black_box(raw)), &mut out, &mut violations);
            assert!(violations.is_empty());
            black_box(out.len())
        });
    });
}

fn bench_body(criterion: &mut Criterion, name: &str, body: BodyContract, media_type: &'static str, sent: &str) {
    let contract = contract(json!({}), body);
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))]);
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut violations = Violations::new();
            let media = contract.accept(&headers).expect("a declared media type");
            let checked = contract.check_body(media, black_box(sent.as_bytes()), &mut violations);
            assert!(violations.is_empty());
            checked
        });
    });
}

fn path(criterion: &mut Criterion) {
    let contract = contract(json!({}), BodyContract::None);
    let captures = [Cow::Borrowed("12345")];
    criterion.bench_function("path_1", |bencher| {
        bencher.iter(|| {
            let (mut out, mut violations) = (PathValues::new(), Violations::new());
            contract.check_path(black_box(&captures), &mut out, &mut violations);
            assert!(violations.is_empty());
            out.len()
        });
    });
}

fn query(criterion: &mut Criterion) {
    bench_query(criterion, "query_1", json!({"limit": {"type": "integer", "maximum": 100}}), "limit=20");
    let five = json!({
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "offset": {"type": "integer", "minimum": 0},
        "sort": {"enum": ["name", "created", "updated"]},
        "q": {"type": "string", "maxLength": 80},
        "active": {"type": "boolean"}
    });
    bench_query(criterion, "query_5", five, "q=green+tea%20%C3%BC&limit=50&offset=1200&sort=created&active=true");
}

/// Two header fields and two cookies between others, as a browser sends them.
fn fields(criterion: &mut Criterion) {
    let schemas = json!({"x-tenant": {"type": "string", "pattern": "^[a-z]+$"}, "x-page": {"type": "integer"}});
    let headers = each(schemas, |declared| HeaderParameter::compile(declared.name.parse().expect("a name"), declared));
    let cookies =
        each(json!({"theme": {"enum": ["light", "dark"]}, "page": {"type": "integer"}}), CookieParameter::compile);
    let cookies = CookieContract::new(cookies, Undeclared::Drop, Vec::new());
    let sent = [
        ("host", "api.example.com"),
        ("user-agent", "Mozilla/5.0"),
        ("accept", "*/*"),
        ("x-tenant", "blue"),
        ("x-page", "12"),
        ("cookie", "session=0123456789abcdef; theme=dark; page=3; consent=yes"),
    ];
    let sent: HeaderMap = sent
        .into_iter()
        .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
        .collect();
    for (name, contract) in
        [("fields_none", FieldContract::default()), ("fields_2_cookies_2", FieldContract::new(headers, Some(cookies)))]
    {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut violations = Violations::new();
                let checked = contract.check(black_box(&sent), &mut violations);
                assert!(violations.is_empty());
                checked
            });
        });
    }
}

fn form(criterion: &mut Criterion) {
    let fields = json!({"username": {"type": "string", "maxLength": 80}, "password": {"type": "string"}});
    let form = FormContract::new(text(Position::Form, fields), Undeclared::Drop);
    let sent = "username=alice%40example.com&password=correct+horse";
    bench_body(criterion, "form_2", BodyContract::Form(form), "application/x-www-form-urlencoded", sent);
}

fn json_body(criterion: &mut Criterion) {
    let members = json!({
        "name": {"type": "string", "minLength": 1, "maxLength": 80},
        "email": {"type": "string", "format": "email"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
        "newsletter": {"type": "boolean"},
        "balance": {"type": "number", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 30}, "maxItems": 10},
        "about": {"type": "string", "maxLength": 1000}
    });
    let mut sent = json!({
        "name": "Alice Example", "email": "alice@example.com", "age": 42, "country": "DE", "newsletter": true,
        "balance": 1234.5, "tags": ["tea", "books", "mountains"], "about": ""
    });
    let missing = 548 - sent.to_string().len();
    sent["about"] = Value::from("x".repeat(missing));
    let json = JsonContract::new(each(members, Member::compile), Undeclared::Drop);
    bench_body(criterion, "json_548_bytes_8_members", BodyContract::Json(json), "application/json", &sent.to_string());
}

criterion_group!(benches, path, query, fields, form, json_body);
criterion_main!(benches);
