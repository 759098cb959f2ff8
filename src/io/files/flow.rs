//! The annotation of a drained Node in a text of braces, JSON or YAML's flow style: where it could be put, and how it
//! could be taken out.
//!
//! Nothing is known of what stands around a word: who asks reads each text back, and takes the one that is right.

use crate::world::DRAIN;

const ANNOTATIONS: &str = "annotations";

/// Texts with the annotation.
pub(super) fn with(text: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for key in [ANNOTATIONS, "metadata"] {
        for (at, _) in text.match_indices(key) {
            let Some(rest) = text.get(at + key.len()..) else { continue };
            let (quote, rest) = rest.strip_prefix('"').map_or(("", rest), |rest| ("\"", rest));
            let Some(inner) =
                rest.trim_start().strip_prefix(':').and_then(|rest| rest.trim_start().strip_prefix('{'))
            else {
                continue;
            };
            let head = text.strip_suffix(inner).unwrap_or_default();
            let entry = format!("{quote}{DRAIN}{quote}: \"true\"");
            let entry = match key {
                ANNOTATIONS => entry,
                _ => format!("{quote}{ANNOTATIONS}{quote}: {{{entry}}}"),
            };
            let comma = if inner.trim_start().starts_with('}') { "" } else { ", " };
            texts.push(format!("{head}{entry}{comma}{inner}"));
        }
    }
    texts
}

/// Texts without it, those that leave no empty list first.
pub(super) fn without(text: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for (at, _) in text.match_indices(DRAIN) {
        let (Some(head), Some(tail)) = (text.get(..at), text.get(at + DRAIN.len()..)) else { continue };
        let (head, tail) = unquoted(head, tail);
        let Some(tail) = tail.trim_start().strip_prefix(':').map(str::trim_start) else { continue };
        let Some(tail) = ["\"true\"", "'true'", "true"].iter().find_map(|value| tail.strip_prefix(value))
        else {
            continue;
        };
        if let Some((head, tail)) = around(head, tail) {
            texts.push(joined(head, tail));
        }
        texts.push(joined(head, tail));
    }
    texts
}

/// What is before and after `annotations: {…}`, where the braces have nothing else in them.
fn around<'a>(head: &'a str, tail: &'a str) -> Option<(&'a str, &'a str)> {
    let tail = tail.trim_start().strip_prefix('}')?;
    let head = head.trim_end().strip_suffix('{')?.trim_end().strip_suffix(':')?.trim_end();
    let bare = head.strip_suffix('"').unwrap_or(head).strip_suffix(ANNOTATIONS)?;
    Some((bare.strip_suffix('"').unwrap_or(bare), tail))
}

/// Without the quotation marks of a key.
fn unquoted<'a>(head: &'a str, tail: &'a str) -> (&'a str, &'a str) {
    let mark = ['"', '\''];
    head.strip_suffix(mark).zip(tail.strip_prefix(mark)).unwrap_or((head, tail))
}

/// Both, without the comma of what was between them.
fn joined(head: &str, tail: &str) -> String {
    if let Some(tail) = tail.trim_start().strip_prefix(',') {
        return format!("{head}{}", tail.trim_start());
    }
    let head = head.trim_end().strip_suffix(',').unwrap_or(head);
    format!("{head}{tail}")
}
