//! Indicator patterns: STIX patterns are checked against the grammar of STIX 2.1 (part 9) and written in one normal form,
//! since the pattern is what an indicator's identity is made of. Patterns of other languages are left as they are.

mod equality;
mod lexer;

pub use equality::{Equality, equalities, quoted};
use lexer::{Lexer, Token, TokenKind};

/// Deepest nesting of parentheses in a STIX pattern.
const DEPTH: usize = 64;
/// Longest STIX pattern in bytes.
const LENGTH: usize = 1_000_000;

/// Why a STIX pattern is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Something else was expected at an offset (in bytes).
    #[error("at offset {offset}: {expected} is expected")]
    Expected {
        /// Where.
        offset: usize,
        /// What.
        expected: &'static str,
    },
    /// Parentheses nested too deep, or the pattern is too long.
    #[error("it is too long or its parentheses are nested too deep")]
    TooComplex,
}

/// The normal form of a pattern: for STIX patterns one blank around operators and keywords and none elsewhere; others unchanged.
pub fn normalise(pattern_type: &str, pattern: &str) -> Result<String, PatternError> {
    if !pattern_type.trim().eq_ignore_ascii_case("stix") {
        return Ok(pattern.to_owned());
    }
    if pattern.len() > LENGTH {
        return Err(PatternError::TooComplex);
    }
    let tokens = Lexer::new(pattern).collect::<Result<Vec<_>, _>>()?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
        end: pattern.len(),
    };
    parser.observations()?;
    if parser.at != tokens.len() {
        return Err(parser.expected("AND, OR, FOLLOWEDBY, a qualifier or the end"));
    }
    Ok(join(&tokens))
}

fn join(tokens: &[Token<'_>]) -> String {
    let mut text = String::with_capacity(tokens.iter().map(|token| token.text.len() + 2).sum());
    let mut blank = false;
    for token in tokens {
        let word = matches!(token.kind, TokenKind::Keyword | TokenKind::Comparison);
        let closes = matches!(token.text, "]" | ")" | ",");
        let opens = text.ends_with(['[', '(']);
        if (blank || word) && !text.is_empty() && !closes && !opens {
            text.push(' ');
        }
        text.push_str(token.text);
        blank = word;
    }
    text
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at)
    }

    fn is(&self, text: &str) -> bool {
        self.peek().is_some_and(|token| {
            token.text == text && !matches!(token.kind, TokenKind::String | TokenKind::Timestamp)
        })
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.is(text);
        if found {
            self.at += 1;
        }
        found
    }

    fn need(&mut self, text: &'static str) -> Result<(), PatternError> {
        if self.take(text) {
            Ok(())
        } else {
            Err(self.expected(text))
        }
    }

    fn need_kind(
        &mut self,
        kinds: &[TokenKind],
        expected: &'static str,
    ) -> Result<(), PatternError> {
        match self.peek() {
            Some(token) if kinds.contains(&token.kind) => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn expected(&self, expected: &'static str) -> PatternError {
        PatternError::Expected {
            offset: self.peek().map_or(self.end, |token| token.offset),
            expected,
        }
    }

    fn deeper(&mut self) -> Result<(), PatternError> {
        self.depth += 1;
        if self.depth > DEPTH {
            Err(PatternError::TooComplex)
        } else {
            Ok(())
        }
    }

    /// Observations joined by FOLLOWEDBY, OR and AND; the order of binding does not matter for checking.
    fn observations(&mut self) -> Result<(), PatternError> {
        loop {
            self.observation()?;
            if !(self.take("AND") || self.take("OR") || self.take("FOLLOWEDBY")) {
                return Ok(());
            }
        }
    }

    fn observation(&mut self) -> Result<(), PatternError> {
        if self.take("[") {
            self.comparisons()?;
            self.need("]")?;
        } else if self.take("(") {
            self.deeper()?;
            self.observations()?;
            self.depth -= 1;
            self.need(")")?;
        } else {
            return Err(self.expected("[ or ("));
        }
        loop {
            if self.take("START") {
                self.need_kind(&[TokenKind::Timestamp], "a timestamp t'…'")?;
                self.need("STOP")?;
                self.need_kind(&[TokenKind::Timestamp], "a timestamp t'…'")?;
            } else if self.take("WITHIN") {
                self.need_kind(&[TokenKind::Integer, TokenKind::Float], "a number")?;
                self.need("SECONDS")?;
            } else if self.take("REPEATS") {
                self.need_kind(&[TokenKind::Integer], "a whole number")?;
                self.need("TIMES")?;
            } else {
                return Ok(());
            }
        }
    }

    fn comparisons(&mut self) -> Result<(), PatternError> {
        loop {
            self.comparison()?;
            if !(self.take("AND") || self.take("OR")) {
                return Ok(());
            }
        }
    }

    fn comparison(&mut self) -> Result<(), PatternError> {
        if self.take("(") {
            self.deeper()?;
            self.comparisons()?;
            self.depth -= 1;
            return self.need(")");
        }
        if self.take("EXISTS") {
            return self.path();
        }
        self.path()?;
        self.take("NOT");
        let Some(operator) = self.peek() else {
            return Err(self.expected("a comparison operator"));
        };
        match operator.text {
            "=" | "==" | "!=" | "<>" => {
                self.at += 1;
                self.literal(true)
            }
            "<" | "<=" | ">" | ">=" => {
                self.at += 1;
                self.literal(false)
            }
            "LIKE" | "MATCHES" | "ISSUBSET" | "ISSUPERSET" => {
                self.at += 1;
                self.need_kind(&[TokenKind::String], "a text in quotes")
            }
            "IN" => {
                self.at += 1;
                self.set()
            }
            _ => Err(self.expected("a comparison operator")),
        }
    }

    fn set(&mut self) -> Result<(), PatternError> {
        self.need("(")?;
        if self.take(")") {
            return Ok(());
        }
        loop {
            self.literal(true)?;
            if !self.take(",") {
                return self.need(")");
            }
        }
    }

    fn literal(&mut self, truth_values: bool) -> Result<(), PatternError> {
        const ORDERED: [TokenKind; 5] = [
            TokenKind::String,
            TokenKind::Binary,
            TokenKind::Timestamp,
            TokenKind::Integer,
            TokenKind::Float,
        ];
        if truth_values
            && self.peek().is_some_and(|token| {
                token.text.eq_ignore_ascii_case("true") || token.text.eq_ignore_ascii_case("false")
            })
        {
            self.at += 1;
            return Ok(());
        }
        self.need_kind(&ORDERED, "a value: a number or a text in quotes")
    }

    fn path(&mut self) -> Result<(), PatternError> {
        self.need_kind(
            &[TokenKind::Identifier, TokenKind::HyphenIdentifier],
            "an object path such as file:name",
        )?;
        self.need(":")?;
        self.need_kind(
            &[TokenKind::Identifier, TokenKind::String],
            "a property name (in quotes when it has a hyphen)",
        )?;
        loop {
            if self.take(".") {
                self.need_kind(
                    &[TokenKind::Identifier, TokenKind::String],
                    "a property name (in quotes when it has a hyphen)",
                )?;
            } else if self.take("[") {
                if !self.take("*") {
                    self.need_kind(&[TokenKind::Integer], "an index or *")?;
                }
                self.need("]")?;
            } else {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stix_patterns_have_one_normal_form() {
        let cases = [
            (
                "[ipv4-addr:value = '1.2.3.4']",
                "[ipv4-addr:value = '1.2.3.4']",
            ),
            (
                "  [ ipv4-addr:value='1.2.3.4' ]  ",
                "[ipv4-addr:value = '1.2.3.4']",
            ),
            (
                "[file:hashes . 'SHA-256'='aa'  OR file:hashes.MD5\n=\t'bb']",
                "[file:hashes.'SHA-256' = 'aa' OR file:hashes.MD5 = 'bb']",
            ),
            (
                "[a:b NOT  IN ( 'x' , 5,t'2020-01-01T00:00:00Z' )]",
                "[a:b NOT IN ('x',5,t'2020-01-01T00:00:00Z')]",
            ),
            (
                "([a:b>=-5.5]) FOLLOWEDBY [EXISTS c:d]  WITHIN 5 SECONDS",
                "([a:b >= -5.5]) FOLLOWEDBY [EXISTS c:d] WITHIN 5 SECONDS",
            ),
            (
                "[a:b.c[*].d = true AND (x:y LIKE '%\\'z' OR x:z MATCHES '^a')]",
                "[a:b.c[*].d = true AND (x:y LIKE '%\\'z' OR x:z MATCHES '^a')]",
            ),
            (
                "[a:b[1] = b'aGk=' /* note */] START t'2020-01-01T00:00:00Z' STOP t'2021-01-01T00:00:00Z'",
                "[a:b[1] = b'aGk='] START t'2020-01-01T00:00:00Z' STOP t'2021-01-01T00:00:00Z'",
            ),
            (
                "[x-custom:a_b = 'AND  OR'] REPEATS 5 TIMES",
                "[x-custom:a_b = 'AND  OR'] REPEATS 5 TIMES",
            ),
            (
                "[url:value = 'http://a/[x]']",
                "[url:value = 'http://a/[x]']",
            ),
        ];
        for (given, expected) in cases {
            let normal = normalise("stix", given).unwrap();
            assert_eq!(normal, expected);
            assert_eq!(
                normalise("STIX", &normal).unwrap(),
                normal,
                "normalising twice changes nothing"
            );
        }
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        let cases = [
            "",
            "   ",
            "[]",
            "ipv4-addr:value = '1'",
            "[ipv4-addr:value = '1'",
            "[ipv4-addr:value '1']",
            "[ipv4-addr = '1']",
            "[a:b = 1] [c:d = 2]",
            "[a:b = 'x]",
            "[file:hashes.SHA-256 = 'aa']",
            "[a:b = c]",
            "[a:b > true]",
            "[a:b = 1] WITHIN x SECONDS",
            "[a:b IN ('x',)]",
            "[a:b LIKE 5]",
            "[a:b = 1] AND",
            "[a:b = 1] §",
            "[a:b[x] = 1]",
            "[a:b = 'x' AND 'AND']",
        ];
        for given in cases {
            assert!(
                matches!(normalise("stix", given), Err(PatternError::Expected { .. })),
                "{given}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}[a:b = 1]{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(normalise("stix", &deep), Err(PatternError::TooComplex));
        let within = format!("[{}a:b = 1{}]", "(".repeat(1000), ")".repeat(1000));
        assert_eq!(normalise("stix", &within), Err(PatternError::TooComplex));
    }

    #[test]
    fn other_languages_are_left_alone() {
        let rule = "rule a { condition:  true }";
        assert_eq!(normalise("yara", rule).unwrap(), rule);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[ \\[\\]()a:b.='x*,0-9<>!A-Z\\\\]{0,60}") {
            if let Ok(normal) = normalise("stix", &text) {
                let again = normalise("stix", &normal);
                proptest::prop_assert_eq!(again, Ok(normal));
            }
        }
    }
}
