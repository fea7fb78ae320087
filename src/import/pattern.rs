//! What a regular expression costs to compile.
//!
//! A few characters can ask for millions of states (`(\\w{1000}){1000}`), and compiling them takes a long time before
//! the size limit refuses. The estimate here is made from the text alone, so that such a pattern is not compiled at all.

/// States of a class like `\w`, which covers much of Unicode.
const CLASS: usize = 50;

/// About how many states a pattern has. Nothing is too broken to be estimated.
pub(super) fn cost(pattern: &str) -> usize {
    // The sums of the groups that are open, and the last atom of each.
    let mut open = vec![Group::default()];
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        let length = match char {
            '(' => {
                open.push(Group::default());
                1
            }
            ')' => {
                let closed = if open.len() > 1 { open.pop() } else { None };
                close(&mut open, closed.unwrap_or_default().total());
                1
            }
            '{' => match repetition(rest) {
                Some((most, length)) => {
                    if let Some(group) = open.last_mut() {
                        group.last = group.last.saturating_mul(most);
                    }
                    length
                }
                None => atom(&mut open, 1, 1),
            },
            '[' => atom(&mut open, CLASS, class_length(rest)),
            '\\' => {
                let escaped = rest.chars().nth(1);
                let class = escaped.is_some_and(|char| "wWdDsSpP".contains(char));
                atom(&mut open, if class { CLASS } else { 1 }, 1 + escaped.map_or(0, char::len_utf8))
            }
            _ => atom(&mut open, 1, char.len_utf8()),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    open.into_iter().map(Group::total).fold(0, usize::saturating_add)
}

#[derive(Default)]
struct Group {
    before: usize,
    last: usize,
}

impl Group {
    fn total(self) -> usize {
        self.before.saturating_add(self.last)
    }
}

fn close(open: &mut [Group], cost: usize) {
    if let Some(group) = open.last_mut() {
        group.before = group.before.saturating_add(group.last);
        group.last = cost;
    }
}

/// Adds an atom, and gives back its length.
fn atom(open: &mut [Group], cost: usize, length: usize) -> usize {
    close(open, cost);
    length
}

/// The larger number of `{2,5}`, and its length.
fn repetition(text: &str) -> Option<(usize, usize)> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let digits = inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
    let most = inside.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().unwrap_or(usize::MAX));
    digits.then_some((most.max()?.max(1), inside.len() + 2))
}

/// The length of `[…]`.
fn class_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(at, char)| {
        // A bracket that comes first is meant itself.
        let ends = *char == ']' && !escaped && *at > 1;
        escaped = *char == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply_and_sequences_add() {
        for (pattern, expected) in [
            ("", 0),
            ("abc", 3),
            ("a{5}", 5),
            ("a{2,5}b", 6),
            ("a{3,}", 3),
            ("(ab){10}", 20),
            ("((a{10}){10}){10}", 1000),
            ("(a|b){2}(c){3}", 9),
            ("[a-z]{64}", 64 * CLASS),
            (r"[\]a]b", CLASS + 1),
            (r"\d{4}", 4 * CLASS),
            (r"\(\{", 2),
            ("{x}", 3),
            ("a{99999999999999999999}", usize::MAX),
            ("(((", 0),
            (")))a", 1),
            ("[", CLASS),
            ("\\", 1),
            ("é{3}", 3),
        ] {
            assert_eq!(cost(pattern), expected, "{pattern}");
        }
    }
}
