//! The words of faults and of the command, in each language. English is the source, as on
//! the pages.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lazy_regex::{Captures, Lazy, Regex, lazy_regex};
use serde::{Deserialize, Serialize};

use crate::definition::{Definition, SECTION};
use crate::fault::Fault;

static NUMBER: Lazy<Regex> = lazy_regex!(r"\d+(?:\.\d+)?");
static LINK: Lazy<Regex> = lazy_regex!(r"^\[([^\]]+)\]\(([^)]+)\)$");

/// The files of words, by language.
const FILES: [(&str, &str); 2] = [
    ("en", include_str!("../words/en.toml")),
    ("it", include_str!("../words/it.toml")),
];

/// The words of one language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    #[serde(skip)]
    pub language: String,
    /// Faults that any program can have, by name.
    pub faults: BTreeMap<String, String>,
    /// English words of the command, and of what came, and their translations. `{}` stands
    /// for a number or a name.
    #[serde(default)]
    words: BTreeMap<String, String>,
}

/// A fault in the words of a language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// The sentence that says what is wrong.
    pub sentence: String,
    pub came: String,
    pub should: String,
    /// The section that says how it should be: its words, and its address.
    pub section: Option<Link>,
}

/// The words of a link, and its address.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    pub text: String,
    pub href: String,
}

/// The languages that the command and the checks speak.
pub fn languages() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(language, _)| *language)
}

impl Words {
    /// The words of this language, or else the English ones.
    pub fn of(language: &str) -> Result<Self> {
        let found = FILES.iter().find(|(own, _)| *own == language);
        let (language, text) = found.unwrap_or(&FILES[0]);
        let mut words: Self = toml::from_str(text)
            .with_context(|| format!("exercises/words/{language}.toml"))?;
        words.language = language.to_string();
        Ok(words)
    }

    /// The language of the environment, as in `it_IT.UTF-8`, if there is one like it.
    pub fn language_of(locale: &str) -> &'static str {
        let tag = locale.split(['_', '.', '@']).next().unwrap_or_default();
        languages().find(|language| *language == tag).unwrap_or("en")
    }

    /// An English text in this language, where it is known. Numbers in it may be others.
    pub fn say<'a>(&'a self, english: &'a str) -> &'a str {
        self.words.get(english).map_or(english, String::as_str)
    }

    /// The same, with values in the places of `{}`.
    pub fn fill(&self, english: &str, values: &[&str]) -> String {
        filled(self.say(english), values)
    }

    /// A fault in the words of the exercise, or in those of all exercises.
    pub fn tell(&self, definition: &Definition, fault: &Fault) -> Told {
        let own = definition.faults.get(&fault.name);
        let own_sentence =
            own.and_then(|words| words.get(&self.language).or(words.get("en")));
        let sentence = own_sentence.or(self.faults.get(&fault.name));
        let section = own.and_then(|words| words.get(SECTION));
        let section = section
            .and_then(|link| LINK.captures(link))
            .map(|link| Link { text: link[1].into(), href: link[2].into() });
        Told {
            sentence: sentence.unwrap_or(&fault.name).clone(),
            came: self.translated(definition, &fault.came),
            should: self.translated(definition, &fault.should),
            section,
        }
    }

    /// A text of a check with its numbers taken out, so that a table can know it.
    fn translated(&self, definition: &Definition, text: &str) -> String {
        let own = definition.words.get(&self.language);
        let find = |english: &str| {
            own.and_then(|own| own.get(english)).or(self.words.get(english))
        };
        if let Some(found) = find(text) {
            return found.clone();
        }
        let numbers: Vec<_> = NUMBER.find_iter(text).map(|n| n.as_str()).collect();
        let template = NUMBER.replace_all(text, |_: &Captures| "{}");
        find(&template).map_or(text.to_string(), |found| filled(found, &numbers))
    }
}

fn filled(template: &str, values: &[&str]) -> String {
    let mut parts = template.split("{}");
    let mut out = parts.next().unwrap_or_default().to_string();
    for (index, part) in parts.enumerate() {
        out += values.get(index).copied().unwrap_or("{}");
        out += part;
    }
    out
}
