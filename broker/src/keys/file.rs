//! The file of authorised keys: one line a key.
//!
//! ```text
//! # key                                      roles                  options                     # who
//! 7Yc>:T]@xm<=0lMn$c*7VvG#k2ZqP3rBt!w5uXjA   submit                 kinds=thumb. tasks=10000    # the shop
//! Bo!*5x+kE#?:r7wPqZ2vGt3@mYl0n<=$c1V>T]uXj   work,knowledge-read                                # host a
//! token:<SHA-256 in 64 hexadecimal digits>    submit                 rate=100                    # over HTTP
//! local                                       submit,admin                                       # the same
//! ```

use std::collections::HashMap;

use ganger_transport::door::PublicKey;

use super::rights::{LOCAL, Principal, Proof, Quota, Role, Roles, Scope};
use crate::values;

/// Characters of a key.
const KEY_CHARS: usize = 40;
/// What a token's line begins with.
const TOKEN_PREFIX: &str = "token:";
/// What the line begins with of whoever shows nothing on this machine.
const LOCAL_WORD: &str = "local";
/// A file with more lines than this is another file.
const LINES_MAX: usize = 100_000;

/// Principals by their keys.
pub(super) type Table = HashMap<PublicKey, Principal>;

/// Reads the text of a file.
///
/// # Errors
/// The number of the first line that is wrong, and what is. Nothing of such a file holds: half of the rights
/// that somebody wrote down would be rights that nobody wrote down.
pub(super) fn read(text: &str) -> Result<Table, (usize, String)> {
    let mut table = Table::new();
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        if number > LINES_MAX {
            return Err((number, format!("there are more than {LINES_MAX} lines")));
        }
        let Some(principal) = principal(line).map_err(|why| (number, why))? else { continue };
        let key = principal.key;
        if table.insert(key, principal).is_some() {
            return Err((number, format!("the key {key} stands in an earlier line too")));
        }
    }
    Ok(table)
}

fn principal(line: &str) -> Result<Option<Principal>, String> {
    let (words, comment) = split_comment(line);
    let mut words = words.split_whitespace();
    let Some(key) = words.next() else { return Ok(None) };
    let (key, proof) = read_key(key)?;
    let roles = words.next().ok_or_else(|| format!("no roles; write one or more of {}", role_names()))?;
    let roles = read_roles(roles)?;
    if proof != Proof::Curve && roles.has(Role::Work) {
        return Err("nobody works over HTTP, so a token or local cannot have the role work".to_owned());
    }
    let mut principal = Principal {
        key,
        proof,
        label: comment.to_owned(),
        roles,
        kinds: Scope::default(),
        topics: Scope::default(),
        quota: Quota::default(),
    };
    let mut seen = Vec::new();
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            format!("{word:?} is no option; write kinds=, topics=, tasks=, bytes=, connections= or rate=")
        })?;
        if seen.contains(&name) {
            return Err(format!("{name}= stands there twice"));
        }
        seen.push(name);
        set(&mut principal, name, value).map_err(|why| format!("{name}={value}: {why}"))?;
    }
    Ok(Some(principal))
}

fn read_key(text: &str) -> Result<(PublicKey, Proof), String> {
    if text == LOCAL_WORD {
        return Ok((LOCAL, Proof::Local));
    }
    if let Some(digits) = text.strip_prefix(TOKEN_PREFIX)
        && text.len() != KEY_CHARS
    {
        let wrong = || {
            format!("after {TOKEN_PREFIX} comes a fingerprint, 64 hexadecimal digits: ganger keygen --token")
        };
        let fingerprint = unhex(digits).ok_or_else(wrong)?;
        return Ok((PublicKey::from_bytes(fingerprint), Proof::Token));
    }
    match text.parse() {
        Ok(key) => Ok((key, Proof::Curve)),
        // A secret that was put here by mistake must not get into a log.
        Err(_) => Err(format!(
            "the line must begin with a public key, which is {KEY_CHARS} characters (Z85), with \
             {TOKEN_PREFIX} and a fingerprint, or with {LOCAL_WORD}"
        )),
    }
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_hex = digits.len() == 2 * bytes.len() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)).filter(|_| is_hex) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    is_hex.then_some(bytes)
}

/// A key may have `#` in it, so a comment begins where one follows a blank, or at the beginning of a line
/// that cannot be a key.
fn split_comment(line: &str) -> (&str, &str) {
    let line = line.trim();
    if line.starts_with('#') && line.split_whitespace().next().is_some_and(|word| word.len() != KEY_CHARS) {
        return ("", "");
    }
    let after_blank = |at: &usize| *at > 0 && line.as_bytes()[at - 1].is_ascii_whitespace();
    match line.match_indices('#').map(|(at, _)| at).find(after_blank) {
        Some(at) => (&line[..at], line[at + 1..].trim()),
        None => (line, ""),
    }
}

fn read_roles(text: &str) -> Result<Roles, String> {
    text.split(',').try_fold(Roles::default(), |roles, name| {
        let role = Role::ALL.into_iter().find(|role| role.name() == name);
        role.map(|role| roles.with(role))
            .ok_or_else(|| format!("{name:?} is no role; write {}", role_names()))
    })
}

fn role_names() -> String {
    Role::ALL.map(Role::name).join(", ")
}

fn set(principal: &mut Principal, name: &str, value: &str) -> Result<(), String> {
    let quota = &mut principal.quota;
    match name {
        "kinds" => principal.kinds = scope(value)?,
        "topics" => principal.topics = scope(value)?,
        "tasks" => quota.tasks = Some(values::count(value)?),
        "bytes" => quota.bytes = Some(values::size(value)?),
        "connections" => quota.connections = Some(values::count(value)?),
        "rate" => quota.rate = Some(values::count(value)?),
        _ => return Err("there is no such option".to_owned()),
    }
    Ok(())
}

fn scope(value: &str) -> Result<Scope, String> {
    let prefixes: Vec<String> = value.split(',').map(str::to_owned).collect();
    match prefixes.iter().any(String::is_empty) {
        true => Err("an empty beginning would be everything; leave the option out for that".to_owned()),
        false => Ok(Scope(Some(prefixes))),
    }
}
