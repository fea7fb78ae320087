//! Declarations that are refused at load.

use super::*;

fn found(result: Result<(), Vec<SchemaFault>>) -> String {
    let one = |fault: &SchemaFault| {
        let help = fault.help.as_ref().filter(|help| help.starts_with("did you mean")).map(|help| format!(" ({help})"));
        let steps = fault.pointer.iter().map(|step| match step {
            PointerStep::Name(name) => format!(".{name}"),
            PointerStep::Index(index) => format!("[{index}]"),
        });
        let pointer = steps.collect::<String>();
        format!("{}: {}{}", pointer.trim_start_matches('.'), fault.message, help.unwrap_or_default())
    };
    result.err().iter().flatten().map(one).collect::<Vec<_>>().join(" | ")
}

fn text_faults(position: Position, schema: &str) -> String {
    let written = written(&format!(r#"{{"x":{schema}}}"#));
    found(TextParameter::compile(position, written[0].declared()).map(|_| ()))
}

fn member_faults(schema: &str) -> String {
    found(Member::compile(written(&format!(r#"{{"x":{schema}}}"#))[0].declared()).map(|_| ()))
}

#[test]
fn a_schema_that_is_wrong_in_itself_is_refused() {
    let rows = [
        (r#"{"type":"integer","maxmum":5}"#, "maxmum: unknown keyword `maxmum` (did you mean `maximum`?)"),
        (r#"{"type":"string","max_length":5}"#, "max_length: unknown keyword `max_length` (did you mean `maxLength`?)"),
        (r#"{"type":"string","whatever":5}"#, "whatever: unknown keyword `whatever`"),
        (r#"{"type":"string","nullable":true}"#, "nullable: unknown keyword `nullable`"),
        (r#"{"type":"integr"}"#, "type: unknown type `integr` (did you mean `integer`?)"),
        (r#"{"type":"file"}"#, "type: there is no file here"),
        (r#"{"type":"file","max_size":5,"content_types":[]}"#, "type: there is no file here"),
        (r#"{"type":"string","max_size":5}"#, "max_size: `max_size` has no effect on this type"),
        (r##"{"$ref":"#/x"}"##, "$ref: `#/x` leads nowhere: there is nothing at `/x`"),
        (r#"{"$ref":"x.json"}"#, "$ref: `x.json` leads nowhere: it is not here, and nothing is fetched"),
        (
            r#"{"type":"string","$schema":"http://json-schema.org/draft-07/schema#"}"#,
            "$schema: schemas are read as 2020-12 only",
        ),
        (r#"{"type":"integer","maximum":"x"}"#, "maximum: must be of type number"),
        (r#"{"type":"integer","multipleOf":0}"#, "multipleOf: must be greater than 0"),
        (r#"{"type":"string","maxLength":-1}"#, "maxLength: must be at least 0"),
        (r#"{"type":"string","maxLength":1.5}"#, "maxLength: must be of type integer"),
        (r#"{"type":"string","pattern":5}"#, "pattern: must be of type string"),
        (r#"{"type":"string","pattern":"("}"#, "pattern: not a regular expression: unclosed group"),
        (r#"{"type":"string","pattern":"(?=a)"}"#, "pattern: not a regular expression"),
        (r#"{"type":"string","format":"mail"}"#, "format: unknown format `mail` (did you mean `email`?)"),
        (r#"{"type":"string","enum":[]}"#, "enum: permits no value"),
        (r#"{"type":"string","enum":"a"}"#, "enum: must be of type array"),
        (
            r#"{"type":"integer","enum":[1,"a",2.5]}"#,
            "enum[1]: can never occur: it is not of the `type` | enum[2]: can never occur: it is not of the `type`",
        ),
        (r#"{"type":"integer","const":"1"}"#, "const: can never occur: it is not of the `type`"),
        (
            r#"{"type":"integer","minimum":5,"maximum":4}"#,
            "minimum: no value is permitted: `minimum` excludes `maximum`",
        ),
        (r#"{"type":"integer","minimum":5,"maximum":5}"#, ""),
        (
            r#"{"type":"number","minimum":5,"exclusiveMaximum":5}"#,
            "minimum: no value is permitted: `minimum` excludes `exclusiveMaximum`",
        ),
        (
            r#"{"type":"string","minLength":5,"maxLength":4}"#,
            "minLength: no value is permitted: `minLength` excludes `maxLength`",
        ),
        (r#"{"type":"string","maximum":5}"#, "maximum: `maximum` has no effect on this type"),
        (r#"{"type":"integer","pattern":"a"}"#, "pattern: `pattern` has no effect on this type"),
        (r#"{"type":"integer","default":"a"}"#, "default: the default breaks the schema: must be integer"),
        (r#"{"type":"integer","default":5,"maximum":4}"#, "default: the default breaks the schema: must be at most 4"),
        (r#"{"type":"integer","default":5,"optional":true}"#, "optional: both `optional` and `default`"),
        (r#"{"type":"integer","Optional":true}"#, "Optional: unknown keyword `Optional` (did you mean `optional`?)"),
        (r#"{"type":"string","then":{}}"#, "then: has no effect without `if`"),
        (
            r#"{"type":"string","maxLenght":5,"pattern":"[","minLength":"a"}"#,
            "maxLenght: unknown keyword `maxLenght` (did you mean `maxLength`?) | \
             pattern: not a regular expression: unclosed character class | minLength: must be of type integer",
        ),
        (r#"{"type":"string","description":"d","title":"t","examples":["a"],"deprecated":true}"#, ""),
    ];
    for (schema, expected) in rows {
        assert_eq!(member_faults(schema), expected, "member {schema}");
        if !schema.contains("\"file\"") && !schema.contains("$ref") && !schema.contains("integr\"") {
            assert_eq!(text_faults(Position::Query, schema), expected, "query {schema}");
        }
    }
}

#[test]
fn nested_schemas_are_read_to_the_bottom() {
    let rows = [
        (
            r#"{"type":"object","properties":{"a":{"typ":"string"}}}"#,
            "properties.a.typ: unknown keyword `typ` (did you mean `type`?)",
        ),
        (r#"{"type":"array","items":{"maximum":"x"}}"#, "items.maximum: must be of type number"),
        (r#"{"anyOf":[{},{"pattern":"["}]}"#, "anyOf[1].pattern: not a regular expression: unclosed character class"),
        (
            r#"{"patternProperties":{"[":{}}}"#,
            "patternProperties.[: not a regular expression: unclosed character class",
        ),
        // A name of digits is a name, also where the meta-schema has the complaint.
        (r#"{"properties":{"404":{"maximum":"x"}}}"#, "properties.404.maximum: must be of type number"),
        (r#"{"properties":{"01~/":{"maxLength":-1}}}"#, "properties.01~/.maxLength: must be at least 0"),
        (
            r#"{"properties":{"0":{"anyOf":[{},{"type":"strng"}]}}}"#,
            "properties.0.anyOf[1].type: unknown type `strng` (did you mean `string`?)",
        ),
        (r#"{"not":{"format":"colour"}}"#, "not.format: unknown format `colour`"),
        (
            r##"{"additionalProperties":{"$defs":{"a":{"typ":1}}}}"##,
            "additionalProperties.$defs.a.typ: unknown keyword `typ` (did you mean `type`?)",
        ),
        (r#"{"properties":{"maxmum":{"type":"integer"},"optional":{}}}"#, ""),
        (r#"{"required":["a","a"]}"#, "required: must not name anything twice"),
        (r#"{"anyOf":[]}"#, "anyOf: must not be empty"),
        (r#"{"type":["string","null"],"maxLength":3,"default":null}"#, ""),
        (r#"{"type":["string","nul"]}"#, "type: unknown type `nul` (did you mean `null`?)"),
    ];
    for (schema, expected) in rows {
        assert_eq!(member_faults(schema), expected, "{schema}");
    }
}

#[test]
fn text_has_only_the_types_that_text_can_have() {
    let one = "text is one of string, integer, number, boolean";
    let many = &format!("type: {one}, or an array of these");
    let rows = [
        (Position::Query, r#"{"type":"object"}"#, many.as_str()),
        (Position::Form, r#"{"type":"null"}"#, many),
        (Position::Query, r#"{"type":["string","integer"]}"#, many),
        (Position::Path, r#"{"type":"array"}"#, &format!("type: {one}")),
        (Position::Path, r#"{"default":"a"}"#, "default: a path parameter is always present"),
        (Position::Path, r#"{"optional":true}"#, "optional: a path parameter is always present"),
        (
            Position::Query,
            r#"{"type":"array","items":{"type":"array"}}"#,
            "items.type: an item is one of string, integer, number, boolean",
        ),
        (
            Position::Query,
            r#"{"type":"array","prefixItems":[{}]}"#,
            "prefixItems: not for text: every item has the same type",
        ),
        (Position::Query, r#"{"enum":["a",1]}"#, "enum: the values are not all strings, all numbers or all booleans"),
        (
            Position::Query,
            r#"{"type":"array","items":{"enum":["a",null]}}"#,
            "items.enum: the values are not all strings, all numbers or all booleans",
        ),
        (
            Position::Query,
            r#"{"type":"integer","default":5.0}"#,
            "default: the default breaks the schema: must be an integer in decimal digits",
        ),
        (
            Position::Query,
            r#"{"type":"array","items":{"type":"integer"},"default":["a"]}"#,
            "default: the default breaks the schema: must be integer",
        ),
        (Position::Query, r#"{"type":"array","default":"a"}"#, "default: the default breaks the schema: must be array"),
        (Position::Query, r#"{"type":"file"}"#, "type: there is no file here"),
        (Position::Path, r#"{"type":"file","max_size":"5MiB"}"#, "type: there is no file here"),
        (Position::Query, r#"{"type":"array","items":{"type":"file"}}"#, "items.type: there is no file here"),
        (Position::Query, r#"{"enum":[1,2.5]}"#, ""),
        (Position::Query, r#"{"maximum":5}"#, "maximum: `maximum` has no effect on this type"),
        (
            Position::Query,
            r#"{"type":"array","items":{"type":"strng"},"optional":true}"#,
            "items.type: unknown type `strng` (did you mean `string`?)",
        ),
    ];
    for (position, schema, expected) in rows {
        assert_eq!(text_faults(position, schema), expected, "{position:?} {schema}");
    }
}

#[test]
fn a_field_or_cookie_that_could_not_be_sent_is_refused() {
    let header = |schema: &str| {
        let written = written(&format!(r#"{{"x":{schema}}}"#));
        found(HeaderParameter::compile(HeaderName::from_static("x"), written[0].declared()).map(|_| ()))
    };
    let cookie = |schema: &str| {
        found(CookieParameter::compile(written(&format!(r#"{{"x":{schema}}}"#))[0].declared()).map(|_| ()))
    };
    let in_field = "default: the default cannot be sent in a header field";
    let in_cookie = "default: the default cannot be sent in a cookie";
    for (schema, of_header, of_cookie) in [
        (r#"{"type":"integer","default":1}"#, "", ""),
        (r#"{"default":"a, b"}"#, "", in_cookie),
        (r#"{"default":" a"}"#, in_field, in_cookie),
        (r#"{"default":"a\nb"}"#, in_field, in_cookie),
        (r#"{"default":"\""}"#, "", in_cookie),
        (r#"{"default":"ü"}"#, "", in_cookie),
        (r#"{"type":"array","default":["a","b"]}"#, "", "type: text is one of string, integer, number, boolean"),
        (r#"{"type":"array","default":["a,b"]}"#, in_field, "type: text is one of string, integer, number, boolean"),
        (r#"{"type":"array","default":["a",""]}"#, in_field, "type: text is one of string, integer, number, boolean"),
        (
            r#"{"type":"object"}"#,
            "type: text is one of string, integer, number, boolean, or an array of these",
            "type: text is one of string, integer, number, boolean",
        ),
        (
            r#"{"type":"integer","default":"x"}"#,
            "default: the default breaks the schema: must be integer",
            "default: the default breaks the schema: must be integer",
        ),
        (
            r#"{"optional":true,"default":"x"}"#,
            "optional: both `optional` and `default`",
            "optional: both `optional` and `default`",
        ),
    ] {
        assert_eq!(header(schema), of_header, "header {schema}");
        assert_eq!(cookie(schema), of_cookie, "cookie {schema}");
    }
}

fn file_faults(schema: &str) -> String {
    let written = written(&format!(r#"{{"x":{schema}}}"#));
    let declared = written[0].declared();
    assert!(FileParameter::is_declared(declared.schema), "{schema}");
    let size = |written: &Value| written.as_u64().ok_or("must be a size".to_owned());
    found(FileParameter::compile(declared, &size).map(|_| ()))
}

#[test]
fn a_file_has_words_of_its_own() {
    let rows = [
        (r#"{"type":"file"}"#, ""),
        (r#"{"type":"file","max_size":5,"content_types":["image/png","IMAGE/*"],"optional":true}"#, ""),
        (r#"{"type":"file","title":"t","description":"d","deprecated":true,"$comment":"c","examples":[]}"#, ""),
        (r#"{"type":"array","items":{"type":"file","max_size":5},"minItems":1,"maxItems":3,"title":"t"}"#, ""),
        (r#"{"type":"file","max_size":"much"}"#, "max_size: must be a size"),
        (r#"{"type":"file","maxsize":5}"#, "maxsize: unknown keyword `maxsize` (did you mean `max_size`?)"),
        (r#"{"type":"file","whatever":5}"#, "whatever: unknown keyword `whatever`"),
        (r#"{"type":"file","maxLength":5}"#, "maxLength: `maxLength` makes no sense for a file"),
        (r#"{"type":"file","pattern":"a"}"#, "pattern: `pattern` makes no sense for a file"),
        (
            r#"{"type":"file","contentMediaType":"a/b"}"#,
            "contentMediaType: `contentMediaType` makes no sense for a file",
        ),
        (r#"{"type":"file","default":"a"}"#, "default: a file has no default"),
        (r#"{"type":"file","title":5}"#, "title: must be of type string"),
        (r#"{"type":"file","content_types":"image/png"}"#, "content_types: must be a list of media types"),
        (r#"{"type":"file","content_types":[]}"#, "content_types: must be a list of media types"),
        (r#"{"type":"file","content_types":["png"]}"#, "content_types[0]: is no media type"),
        (r#"{"type":"file","content_types":["*/*"]}"#, "content_types[0]: is no media type"),
        (r#"{"type":"file","content_types":["image/p*"]}"#, "content_types[0]: is no media type"),
        (r#"{"type":"file","content_types":["a/b; c=d"]}"#, "content_types[0]: is no media type"),
        (r#"{"type":"file","content_types":["a/b",5]}"#, "content_types[1]: is no media type"),
        (r#"{"type":"file","content_types":["a/b","A/B"]}"#, "content_types[1]: is listed already"),
        (r#"{"type":"file","minItems":1}"#, "minItems: `minItems` makes no sense for a file"),
        (
            r#"{"type":"array","max_size":5,"uniqueItems":true,"items":{"type":"file","maxItems":1}}"#,
            "max_size: `max_size` makes no sense for a list of files | \
             uniqueItems: `uniqueItems` makes no sense for a list of files | \
             items.maxItems: `maxItems` makes no sense for a file",
        ),
        (
            r#"{"type":"array","minItems":3,"maxItems":2,"items":{"type":"file"}}"#,
            "minItems: no value is permitted: `minItems` excludes `maxItems`",
        ),
        (r#"{"items":{"type":"file"}}"#, "type: must be `array`: there are `items`"),
        (r#"{"type":"string","items":{"type":"file"}}"#, "type: must be `array`: there are `items`"),
        (r#"{"type":"file","items":{"type":"file"}}"#, "items: `items` makes no sense for a file"),
        (r#"{"type":"array","minItems":"x","items":{"type":"file"}}"#, "minItems: must be of type integer"),
        (r#"{"type":"array","items":{"type":"file","title":5}}"#, "items.title: must be of type string"),
    ];
    for (schema, expected) in rows {
        assert_eq!(file_faults(schema), expected, "{schema}");
    }
}

#[test]
fn every_format_is_one_that_the_library_checks() {
    let wrong: Vec<&str> = super::super::FORMATS
        .into_iter()
        .filter(|format| !jsonschema::options().is_known_format(jsonschema::Draft::Draft202012, format))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
