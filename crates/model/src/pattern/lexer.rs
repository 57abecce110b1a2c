//! Tokens of STIX patterns. Blanks and comments between them are skipped.

use super::PatternError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A name without hyphens.
    Identifier,
    /// A name with hyphens, as object types have.
    HyphenIdentifier,
    /// `AND`, `WITHIN`, `LIKE`, …
    Keyword,
    /// `=`, `<`, …
    Comparison,
    /// A bracket, a comma, …
    Punctuation,
    /// `'…'`
    String,
    /// `b'…'` or `h'…'`
    Binary,
    /// `t'…'`
    Timestamp,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Float,
}

#[derive(Debug, Clone, Copy)]
pub struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    pub offset: usize,
}

const KEYWORDS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "FOLLOWEDBY",
    "LIKE",
    "MATCHES",
    "ISSUPERSET",
    "ISSUBSET",
    "EXISTS",
    "LAST",
    "IN",
    "START",
    "STOP",
    "SECONDS",
    "WITHIN",
    "REPEATS",
    "TIMES",
];

pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) -> Result<(), PatternError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("/*") {
                let end = trimmed.find("*/").ok_or(PatternError::Expected {
                    offset: self.text.len(),
                    expected: "*/",
                })?;
                self.at += end + 2;
            } else if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self, kind: TokenKind, length: usize) -> Token<'a> {
        let offset = self.at;
        self.at += length;
        Token {
            kind,
            text: &self.text[offset..self.at],
            offset,
        }
    }

    /// Length of a quoted text with its prefix of `prefix` bytes.
    fn quoted(&self, prefix: usize) -> Result<usize, PatternError> {
        let bytes = self.rest().as_bytes();
        let mut at = prefix + 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => at += 2,
                b'\'' => return Ok(at + 1),
                _ => at += 1,
            }
        }
        Err(PatternError::Expected {
            offset: self.text.len(),
            expected: "the closing quote",
        })
    }

    fn next_token(&mut self) -> Result<Option<Token<'a>>, PatternError> {
        self.skip_blanks()?;
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let second = bytes.get(1).copied();
        let token = match first {
            b'\'' => {
                let length = self.quoted(0)?;
                self.token(TokenKind::String, length)
            }
            b't' | b'b' | b'h' if second == Some(b'\'') => {
                let length = self.quoted(1)?;
                self.token(
                    if first == b't' {
                        TokenKind::Timestamp
                    } else {
                        TokenKind::Binary
                    },
                    length,
                )
            }
            b'!' if second == Some(b'=') => self.token(TokenKind::Comparison, 2),
            b'<' | b'>' | b'=' => {
                let double = matches!(
                    (first, second),
                    (b'<' | b'>' | b'=', Some(b'=')) | (b'<', Some(b'>'))
                );
                self.token(TokenKind::Comparison, if double { 2 } else { 1 })
            }
            b'[' | b']' | b'(' | b')' | b':' | b'.' | b',' | b'*' => {
                self.token(TokenKind::Punctuation, 1)
            }
            b'0'..=b'9' | b'+' | b'-' => self.number()?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = bytes
                    .iter()
                    .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
                    .count();
                let word = &rest[..length];
                let kind = if KEYWORDS.contains(&word) {
                    TokenKind::Keyword
                } else if word.contains('-') {
                    TokenKind::HyphenIdentifier
                } else {
                    TokenKind::Identifier
                };
                self.token(kind, length)
            }
            _ => {
                return Err(PatternError::Expected {
                    offset: self.at,
                    expected: "a pattern symbol",
                });
            }
        };
        Ok(Some(token))
    }

    fn number(&mut self) -> Result<Token<'a>, PatternError> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| {
            bytes[from..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
        };
        let sign = usize::from(matches!(bytes[0], b'+' | b'-'));
        let whole = digits(sign);
        if whole == 0 {
            return Err(PatternError::Expected {
                offset: self.at,
                expected: "a number",
            });
        }
        let mut length = sign + whole;
        if bytes.get(length) == Some(&b'.') {
            let fraction = digits(length + 1);
            if fraction > 0 {
                length += 1 + fraction;
                return Ok(self.token(TokenKind::Float, length));
            }
        }
        Ok(self.token(TokenKind::Integer, length))
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Token<'a>, PatternError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_token().transpose()
    }
}
