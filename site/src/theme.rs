//! The theme, and the words of the interface in it, which a language translates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lazy_regex::{Captures, Lazy, Regex, lazy_regex};

use crate::book::Language;
use crate::files::files_but;
use crate::recording::escape;

/// The page's template.
const TEMPLATE: &str = "index.hbs";
/// The place in the template for the words of the scripts, a comment to stock mdBook.
const WORDS: &str = "{{!words}}";

/// A word in a template, between comments to stock mdBook.
static WORD: Lazy<Regex> = lazy_regex!(r"(?s)\{\{!t\}\}(.*?)\{\{!/t\}\}");
/// A word in a script.
static SCRIPT_WORD: Lazy<Regex> =
    lazy_regex!(r#"\bword\(\s*(?:'([^'\n]*)'|"([^"\n]*)")"#);

/// The English words of the interface: between `{{!t}}` and `{{!/t}}` in the templates, and
/// in `word('…')` in the scripts.
pub fn words(theme: &Path) -> Result<BTreeSet<String>> {
    let mut words = words_of_scripts(theme)?;
    for name in [TEMPLATE, "404.html"] {
        let text = fs::read_to_string(theme.join(name))
            .with_context(|| name.to_string())?;
        words.extend(WORD.captures_iter(&text).map(|word| word[1].to_string()));
    }
    Ok(words)
}

/// The English words of our own scripts, those of the search among them.
fn words_of_scripts(theme: &Path) -> Result<BTreeSet<String>> {
    let mut words = BTreeSet::new();
    for path in files_but(theme, &["vendor"])? {
        if path.extension().is_some_and(|kind| kind == "js") {
            words.extend(script_words(&fs::read_to_string(&path)?));
        }
    }
    Ok(words)
}

fn script_words(script: &str) -> Vec<String> {
    SCRIPT_WORD
        .captures_iter(script)
        .filter_map(|found| found.get(1).or(found.get(2)))
        .map(|word| word.as_str().to_string())
        .collect()
}

/// The template in this language; a word without a translation stays English.
pub fn translate(template: &str, language: &Language) -> String {
    let word = |found: &Captures| {
        let word = language.settings.words.get(&found[1]);
        word.map_or(found[1].to_string(), |word| escape(word))
    };
    WORD.replace_all(template, word).into_owned()
}

/// The translations of these words as JSON, fit for a script element in the template: no
/// end tag, and no braces in a string.
fn dictionary(
    words: &BTreeSet<String>,
    translations: &BTreeMap<String, String>,
) -> Result<String> {
    let mut entries = Vec::new();
    for word in words {
        if let Some(translation) = translations.get(word) {
            let word = serde_json::to_string(word)?;
            let translation = serde_json::to_string(translation)?;
            entries.push(format!("{word}:{translation}"));
        }
    }
    let entries = entries.join(",").replace('<', "\\u003c");
    let entries = entries.replace('{', "\\u007b").replace('}', "\\u007d");
    Ok(format!("{{{entries}}}"))
}

/// Copies the theme, with the words of the language in its template.
pub fn translate_theme(from: &Path, to: &Path, language: &Language) -> Result<()> {
    copy(from, to)?;
    let template = fs::read_to_string(from.join(TEMPLATE)).context(TEMPLATE)?;
    let words = dictionary(&words_of_scripts(from)?, &language.settings.words)?;
    let template = translate(&template, language).replace(WORDS, &words);
    fs::write(to.join(TEMPLATE), template)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_script_stand_in_calls_of_word() {
        let script = "word('Copy'); sword('no'); word(name);\n\
                      word(\n  \"in your browser's place.\",\n)";
        assert_eq!(script_words(script), ["Copy", "in your browser's place."]);
    }

    #[test]
    fn the_words_of_the_scripts_are_json_without_braces_or_tags_in_strings() {
        let words = ["Kill {pid}", "<b>", "Window"].map(String::from).into();
        let translations = [
            ("Kill {pid}", "Uccidi {pid}"),
            ("<b>", "</script>"),
            ("Chapters", "Capitoli"),
        ];
        let translations = translations.map(|(a, b)| (a.to_string(), b.to_string()));
        let json = dictionary(&words, &translations.into()).unwrap();
        assert_eq!(json.matches(['{', '}', '<']).count(), 2, "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["Kill {pid}"], "Uccidi {pid}");
        assert_eq!(read["<b>"], "</script>");
        assert_eq!(read.as_object().unwrap().len(), 2);
        assert_eq!(dictionary(&words, &BTreeMap::new()).unwrap(), "{}");
    }
}
