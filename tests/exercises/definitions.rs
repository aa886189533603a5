//! The rest of an exercise, besides its programs: words, a place in the book, a check.

use std::collections::BTreeSet;

use exercises::checks;
use exercises::course::Course;
use exercises::definition::SECTION;
use exercises::words::{Words, languages};
use tests::root;

#[test]
fn every_exercise_has_a_check_and_every_check_an_exercise() {
    let course = Course::load(&root()).unwrap();
    let exercises: BTreeSet<_> =
        course.definitions.keys().map(String::as_str).collect();
    let checks: BTreeSet<_> = checks::names().collect();
    assert_eq!(exercises, checks);
    assert_eq!(checks.len(), checks::names().count(), "a check has one exercise");
}

#[test]
fn every_fault_has_its_words_in_every_language() {
    let course = Course::load(&root()).unwrap();
    let english = Words::of("en").unwrap();
    let mut wrong = Vec::new();
    for (name, definition) in &course.definitions {
        let own = &definition.fault;
        if !definition.faults.contains_key(own) && !english.faults.contains_key(own)
        {
            wrong.push(format!("{name}: no words for the fault {own}"));
        }
        for (fault, words) in &definition.faults {
            for language in languages() {
                if !words.contains_key(language) {
                    wrong
                        .push(format!("{name}: {fault} has no words in {language}"));
                }
            }
            for key in words.keys() {
                if key != SECTION && !languages().any(|language| language == key) {
                    wrong.push(format!("{name}: {fault} has words in {key}"));
                }
            }
        }
    }
    for language in languages() {
        let words = Words::of(language).unwrap();
        assert!(words.faults.keys().eq(english.faults.keys()), "{language}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_exercise_is_a_section_of_one_page_in_every_language() {
    let course = Course::load(&root()).unwrap();
    for language in languages() {
        let pages = course.pages(language).unwrap();
        let mut found = Vec::new();
        for (page, sections) in &pages {
            for section in sections {
                assert!(!section.text.is_empty(), "{}: {}", page.file, section.id);
                // An answer, or a listing, is not for the terminal.
                let is_shown = !section.text.contains("{{#include");
                assert!(is_shown, "{}: {}", page.file, section.id);
                found.push(section.id.as_str());
            }
        }
        found.sort_unstable();
        let all: Vec<_> = course.definitions.keys().map(String::as_str).collect();
        assert_eq!(found, all, "a heading `### … {{#NAME}}` for each");
    }
}
