//! Every configuration that users are shown compiles: `conf/*.yaml`, and each YAML block of the README that is a
//! whole file. Warnings are allowed, errors are not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate::config::Color;
use tollgate::gateway::Surroundings;
use tollgate::gateway::key_source::KeySources;
use tollgate::server::{self, Checked, Source};
use tollgate::telemetry::Telemetry;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `tollgate check` finds in a configuration whose names are all known.
pub fn checked(source: &Source) -> Checked {
    let telemetry = Telemetry::new("", "");
    let lookup = |_: &str, port: u16| Ok(vec![([127, 0, 0, 1], port).into()]);
    let surroundings = Surroundings {
        telemetry: &telemetry,
        lookup: &lookup,
        generation: 1,
        flood: None,
        keys: &KeySources::default(),
        read: None,
        now: 0,
        running: &[],
        services: &[],
    };
    server::check(source, server::Purpose::Checking, &surroundings)
}

/// The report of a configuration with errors.
pub fn errors(source: &Source) -> Option<String> {
    let checked = checked(source);
    checked.gateway.is_none().then(|| checked.report.render(&checked.sources, Color::Never))
}

#[test]
fn every_packaged_configuration_compiles() {
    let folder = fs::read_dir(root().join("conf")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(files.iter().any(|file| file.ends_with("demo.yaml")), "{files:?}");
    for file in files {
        let wrong = errors(&Source::File(file.clone()));
        assert!(wrong.is_none(), "{}\n{}", file.display(), wrong.unwrap_or_default());
    }
}

/// The YAML blocks of a Markdown text that are whole configurations, each with its first line from 1.
pub fn configurations(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(indent) = line.find("```yaml").filter(|at| line[..*at].trim().is_empty()) else { continue };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim_start().starts_with("```"));
        let block: Vec<&str> = inside.map(|line| line.get(indent..).unwrap_or_default()).collect();
        let first = block.iter().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
        if first.is_some_and(|line| line.starts_with("version:")) {
            found.push((number + 2, block.join("\n")));
        }
    }
    found
}

#[test]
fn every_whole_configuration_of_the_readme_compiles() {
    let Ok(readme) = fs::read_to_string(root().join("README.md")) else {
        let known = Command::new("git").current_dir(root()).args(["ls-files", "README.md"]).output();
        assert!(!known.is_ok_and(|known| !known.stdout.is_empty()), "README.md is gone");
        return;
    };
    for (line, text) in configurations(&readme) {
        let wrong = errors(&Source::Text { name: format!("README.md, block at line {line}"), text });
        assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    }
}

#[test]
fn whole_configurations_are_told_from_snippets() {
    let markdown = "# Title\n```yaml\nversion: 1\na: 2\n```\ntext\n```yaml\nroutes: []\n```\n- list\n  ```yaml\n  # said\n  \
                    version: 1\n  ```\n```\nversion: 1\n```\n";
    let found = configurations(markdown);
    assert_eq!(found, [(3, "version: 1\na: 2".to_owned()), (12, "# said\nversion: 1".to_owned())]);
}
