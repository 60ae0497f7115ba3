//! Checks the pages of the book and the documents at the root: their links, and the paths and
//! options that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use socketserver::Reason;
use socketserver::access::Refusal;
use socketserver_tests::build;

/// The documents at the root.
const AT_THE_ROOT: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// The folders at the root with which a path in a document begins.
const FOLDERS: [&str; 8] =
    [".ci/", ".github/", "docs/", "guest-sdk/", "guests/", "host/", "tests/", "wit/"];

/// Returns the pages of the book, as paths from the root.
fn pages() -> Vec<String> {
    fn collect(folder: &str, pages: &mut Vec<String>) {
        for entry in fs::read_dir(build::root().join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            if build::root().join(&name).is_dir() {
                collect(&name, pages);
            } else if Path::new(&name).extension().is_some_and(|end| end == "md") {
                pages.push(name);
            }
        }
    }
    let mut pages = Vec::new();
    collect("docs/src", &mut pages);
    pages.sort();
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

fn documents() -> Vec<String> {
    AT_THE_ROOT.map(str::to_owned).into_iter().chain(pages()).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(build::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Returns the line without its code spans.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Returns the code spans of a text.
fn code_spans(text: &str) -> Vec<String> {
    let prose: Vec<&str> = prose(text).collect();
    prose.join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns each text between `begin` and `end`.
fn between<'a>(text: &'a str, begin: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// Returns the relative links of a document.
fn links(text: &str) -> Vec<String> {
    let prose: Vec<String> = prose(text).map(without_code).collect();
    let prose = prose.join("\n");
    let links = between(&prose, "](", ')').filter(|link| !link.contains("://"));
    links.map(str::to_owned).collect()
}

/// Returns the path, from the root, to which `link` in `document` leads.
fn target(document: &str, link: &str) -> String {
    let mut path = Path::new(document).parent().unwrap().to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{document}: {link} leads out of the tree"),
            part => path.push(part),
        }
    }
    path.to_str().unwrap().to_owned()
}

/// Returns the fragments of a document's headings, as GitHub and mdBook make them.
fn fragments(document: &str) -> BTreeSet<String> {
    let text = read(document);
    let mut fragments = BTreeSet::new();
    for line in prose(&text) {
        if let Some(included) = between(line, "{{#include ", '}').next() {
            fragments.append(&mut self::fragments(&target(document, included)));
        }
        let Some(heading) = line.strip_prefix('#') else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let fragment: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        fragments.insert(fragment);
    }
    fragments
}

#[test]
fn each_relative_link_leads_to_a_file_and_to_a_heading() {
    let mut count = 0;
    for document in documents() {
        for link in links(&read(&document)) {
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => target(&document, path),
            };
            assert!(build::root().join(&target).exists(), "{document}: {link} leads nowhere");
            let is_in_the_book = target.starts_with("docs/src/") || !document.starts_with("docs/");
            assert!(
                is_in_the_book,
                "{document}: {link} leads out of the book: name the path instead"
            );
            if !fragment.is_empty() {
                let fragments = fragments(&target);
                assert!(fragments.contains(fragment), "{document}: {link}: no such heading");
            }
            count += 1;
        }
    }
    assert!(count > 60, "{count} links");
}

#[test]
fn each_file_that_a_page_includes_exists() {
    for page in pages() {
        for included in between(&read(&page), "{{#include ", '}') {
            let target = target(&page, included);
            assert!(build::root().join(&target).is_file(), "{page}: there is no {target}");
        }
    }
}

#[test]
fn the_summary_lists_each_page_once() {
    let summary = "docs/src/SUMMARY.md";
    let mut listed: Vec<String> =
        links(&read(summary)).iter().map(|link| target(summary, link)).collect();
    listed.push(summary.to_owned());
    listed.sort();
    assert_eq!(listed, pages());
}

#[test]
fn each_path_that_the_documents_name_exists() {
    let mut count = 0;
    for document in documents() {
        for span in code_spans(&read(&document)) {
            // A path with upper case contains a placeholder, or is a README.
            let is_path = FOLDERS.iter().any(|folder| span.starts_with(folder))
                && !span.contains(|c: char| c.is_whitespace() || c.is_uppercase() || c == '*');
            if is_path {
                let path = build::root().join(&span);
                let exists = path.exists() || path.with_extension("rs").exists();
                assert!(exists, "{document}: there is no {span}");
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count} paths");
}

#[test]
fn the_table_of_how_to_add_names_paths_in_each_row() {
    let text = read("ARCHITECTURE.md");
    let (_, table) = text.split_once("## How to add").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| a")).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let mut spans = row.split('`').skip(1).step_by(2);
        let names_path = spans.any(|span| FOLDERS.iter().any(|folder| span.starts_with(folder)));
        assert!(names_path || row.contains("the same"), "{row}");
    }
}

#[test]
fn the_readme_has_at_most_150_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines: move some to docs/src");
}

/// Returns the options in a text: `--` and a word.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("--"));
    let words = words.map(|word| word.trim_end_matches('-').to_owned());
    words.filter(|word| word.len() > 3).collect()
}

/// Returns the options that the help of a command lists, at the beginning of a line.
fn options_of(command: &str) -> BTreeSet<String> {
    let output = Command::new(build::host().unwrap()).args([command, "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    lines.filter_map(|line| options(line).pop_first()).collect()
}

#[test]
fn the_pages_about_serving_explain_each_option_and_no_other() {
    let pages: Vec<PathBuf> = pages().into_iter().map(PathBuf::from).collect();
    let about_serving = pages.iter().filter(|page| {
        // These also name options of other programs.
        let of_others = ["installing.md", "operating.md"].iter().any(|name| page.ends_with(name));
        page.starts_with("docs/src/serving") && !of_others
    });
    let text: String = about_serving.map(|page| read(page.to_str().unwrap())).collect();
    let (explained, existing) = (options(&text), options_of("serve"));
    assert!(existing.len() > 40, "{existing:?}");
    let missing: Vec<_> = existing.difference(&explained).filter(|it| *it != "--help").collect();
    assert_eq!(missing, Vec::<&String>::new(), "no page explains these options");
    let existing: BTreeSet<_> = existing.union(&options_of("drain")).cloned().collect();
    let unknown: Vec<_> = explained.difference(&existing).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "`serve` has no such options");
}

/// Returns the headings of options in the help of `serve`.
fn headings_of_the_help() -> Vec<String> {
    let output = Command::new(build::host().unwrap()).args(["serve", "-h"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().filter(|line| !line.starts_with(' '));
    let headings = lines.filter_map(|line| line.strip_suffix(':'));
    let of_clap = ["Arguments", "Options"];
    headings.filter(|it| !of_clap.contains(it)).map(str::to_owned).collect()
}

#[test]
fn each_group_of_options_has_the_same_heading_in_the_pages_about_serving() {
    let pages = pages();
    let about_serving = pages.iter().filter(|page| page.starts_with("docs/src/serving"));
    let text: String = about_serving.map(|page| read(page)).collect();
    let headings = headings_of_the_help();
    assert!(headings.len() > 7, "{headings:?}");
    for heading in headings {
        let is_there = text.lines().any(|line| line.trim_start_matches('#').trim() == heading);
        assert!(is_there, "no page about serving has the heading `{heading}`");
    }
}

#[test]
fn the_reference_explains_each_reason_and_rule_that_is_counted() {
    let page = read("docs/src/reference/reasons.md");
    let reasons = Reason::ALL.iter().filter(|reason| **reason != Reason::Exit);
    for reason in reasons {
        let row = format!("\n| `{reason}` | {} | ", reason.blame());
        assert!(page.contains(&row), "no row explains `{reason}`");
    }
    for rule in Refusal::ALL {
        assert!(page.contains(&format!("\n| `{rule}` | ")), "no row explains `{rule}`");
    }
}
