//! The schema for editors: `tollgate schema` prints what `conf/tollgate.schema.json` holds, every configuration that
//! users are shown fits it, and it refuses nothing that `tollgate check` takes.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::Value;

use crate::examples::{configurations, errors};
use crate::support::gateway::program;
use tollgate::server::Source;

const MODELINE: &str = "# yaml-language-server: $schema=tollgate.schema.json\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn validator() -> Validator {
    jsonschema::draft7::new(&tollgate::config::json_schema()).expect("a schema of draft 7")
}

/// A YAML text as an editor sees it: merged, with keys that are text.
pub fn as_json(text: &str) -> Value {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).expect("YAML");
    value.apply_merge().expect("mappings to merge");
    with_text_keys(&value)
}

fn with_text_keys(value: &serde_yaml::Value) -> Value {
    match value {
        serde_yaml::Value::Mapping(mapping) => {
            let text = |key: &serde_yaml::Value| {
                key.as_str().map_or_else(|| serde_json::to_string(key).expect("a scalar key"), str::to_owned)
            };
            Value::Object(mapping.iter().map(|(key, value)| (text(key), with_text_keys(value))).collect())
        }
        serde_yaml::Value::Sequence(items) => items.iter().map(with_text_keys).collect(),
        scalar => serde_json::to_value(scalar).expect("a scalar"),
    }
}

/// What the schema says against a configuration.
pub fn refusals(validator: &Validator, text: &str) -> Vec<String> {
    let file = as_json(text);
    validator.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join(folder)).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn the_file_for_editors_is_current() {
    let output = program().arg("schema").output().expect("run the program");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let kept = fs::read(root().join("conf/tollgate.schema.json")).unwrap_or_default();
    let hint = "conf/tollgate.schema.json is old: cargo run -- schema > conf/tollgate.schema.json";
    assert!(output.stdout == kept, "{hint}");
}

#[test]
fn the_schema_is_one_of_draft_7() {
    let schema = tollgate::config::json_schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let wrong: Vec<String> =
        jsonschema::draft7::meta::validator().iter_errors(&schema).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_shown_configuration_fits_the_schema() {
    let validator = validator();
    let conf = files("conf");
    assert!(conf.len() >= 2, "{conf:?}");
    for file in &conf {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with(MODELINE), "{} does not begin with {MODELINE}", file.display());
        assert_eq!(refusals(&validator, &text), [""; 0], "{}", file.display());
    }
    let full = fs::read_to_string(root().join("tests/config/full.yaml")).unwrap();
    assert_eq!(refusals(&validator, &full), [""; 0], "full.yaml");
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    for (line, text) in configurations(&readme) {
        assert_eq!(refusals(&validator, &text), [""; 0], "README.md, block at line {line}");
    }
}

#[test]
fn what_check_takes_fits_the_schema() {
    let validator = validator();
    let mut taken = 0;
    for file in files("tests/config/bad") {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if errors(&Source::File(file.clone())).is_some() {
            continue;
        }
        assert_eq!(refusals(&validator, &text), [""; 0], "{}", file.display());
        taken += 1;
    }
    assert!(taken >= 3, "only {taken} files have warnings alone");
}
