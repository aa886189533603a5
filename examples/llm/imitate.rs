//! Imitates a text of two pages, token by token. It knows nothing.

use std::{collections::HashMap, sync::LazyLock};

use rand::seq::IndexedRandom;
use rand::{SeedableRng, rngs::StdRng};

/// How every answer begins: nobody should take this for a model that knows something.
const CONFESSION: &str = "I am only a stand-in, and imitate a text of two pages.";
/// Tokens after which an answer ends with its sentence.
const ENOUGH: usize = 150;
/// Tokens of an answer, unless fewer are asked for.
pub const MAX_TOKENS: usize = 240;
/// Characters of a token: longer words come in pieces, as they do from a real model.
const MAX_TOKEN: usize = 6;
/// Words of a prompt that are looked for in the text: a thread is busy meanwhile.
const MAX_WORDS: usize = 100;

/// The text is a ring: its first sentence follows its last one.
static TEXT: LazyLock<Vec<String>> =
    LazyLock::new(|| split(&format!(" {}", include_str!("corpus.txt").trim())));

fn place(at: usize) -> usize {
    at % TEXT.len()
}

/// For each pair of tokens in the text, the places of the tokens that follow it.
static FOLLOWERS: LazyLock<HashMap<[&str; 2], Vec<usize>>> = LazyLock::new(|| {
    let mut followers = HashMap::<_, Vec<_>>::new();
    for at in 0..TEXT.len() {
        let pair = [&*TEXT[at], &*TEXT[place(at + 1)]];
        followers.entry(pair).or_default().push(place(at + 2));
    }
    followers
});

/// Says the sentence that has most of the prompt's words in it, and goes on from there:
/// each token is one of those that follow the last two somewhere in the text.
pub fn imitate(prompt: &str, seed: i64) -> Vec<String> {
    let add = |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte));
    let mut chance = StdRng::seed_from_u64(prompt.bytes().fold(seed as u64, add));

    let prompt = prompt.to_lowercase();
    let words: Vec<_> = prompt
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 3)
        .take(MAX_WORDS)
        .collect();
    let ends = (0..TEXT.len()).filter(|at| ends_sentence(&TEXT[*at]));
    let starts: Vec<_> = ends.map(|at| place(at + 1)).collect();
    let score = |at: usize| {
        let sentence: String = TEXT[at..]
            .iter()
            .take_while(|token| !ends_sentence(token))
            .cloned()
            .collect();
        let sentence = sentence.to_lowercase();
        let found = words.iter().filter(|word| sentence.contains(**word));
        found.map(|word| word.len()).sum::<usize>()
    };
    let best = starts.iter().map(|at| score(*at)).max().unwrap_or(0);
    let starts: Vec<_> =
        starts.into_iter().filter(|at| score(*at) == best).collect();
    let start = starts.choose(&mut chance).copied().unwrap_or(0);
    let mut at = start;
    while at + 1 < TEXT.len() && !ends_sentence(&TEXT[at]) {
        at += 1;
    }

    let mut tokens = split(CONFESSION);
    tokens.extend(["\n\n".to_string(), TEXT[start].trim_start().to_string()]);
    tokens.extend_from_slice(&TEXT[start + 1..=at]);
    while tokens.len() <= MAX_TOKENS {
        if tokens.len() >= ENOUGH && ends_sentence(&TEXT[at]) {
            break;
        }
        let last = [&*TEXT[place(at + TEXT.len() - 1)], &*TEXT[at]];
        let Some(next) =
            FOLLOWERS.get(&last).and_then(|all| all.choose(&mut chance))
        else {
            break;
        };
        at = *next;
        tokens.push(TEXT[at].clone());
    }
    tokens
}

fn ends_sentence(token: &str) -> bool {
    token == "."
}

/// Splits a text into tokens, each with the space before it.
pub fn split(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for c in text.chars() {
        let joins = c.is_alphanumeric()
            && tokens.last().is_some_and(|token| {
                token.chars().count() < MAX_TOKEN
                    && token.trim_start().chars().all(char::is_alphanumeric)
            });
        match tokens.last_mut() {
            Some(token) if joins => token.push(c),
            Some(token) if token == " " && c.is_whitespace() => {}
            _ => tokens.push(if c.is_whitespace() { " ".into() } else { c.into() }),
        }
    }
    tokens
}
