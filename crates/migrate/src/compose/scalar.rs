//! What a container finds in its environment when a value of a map is written without quotes: Docker Compose reads it by YAML 1.2's core schema and
//! writes it anew, so that `1.10` arrives as `1.1`, `True` as `true`, `0x1F` as `31` and `007` as `7`; `yes`, `on` and dates stay as they are.

/// The text that arrives.
#[must_use]
pub(crate) fn arriving(plain: &str) -> String {
    match plain {
        "true" | "True" | "TRUE" => return "true".to_owned(),
        "false" | "False" | "FALSE" => return "false".to_owned(),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return "+Inf".to_owned(),
        "-.inf" | "-.Inf" | "-.INF" => return "-Inf".to_owned(),
        ".nan" | ".NaN" | ".NAN" => return "NaN".to_owned(),
        _ => {}
    }
    if !plain.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return plain.to_owned();
    }
    let digits = plain.replace('_', "");
    integer(&digits)
        .or_else(|| float(&digits))
        .unwrap_or_else(|| plain.to_owned())
}

fn integer(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        // below the least signed number it is a float
        (number <= 1 << 63).then(|| (-i128::from(number)).to_string())
    } else {
        Some(number.to_string())
    }
}

fn float(text: &str) -> Option<String> {
    let mantissa_end = text.find(['e', 'E']).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(mantissa_end);
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let shaped = match mantissa.split_once('.') {
        Some((whole, part)) => {
            digits(whole) && digits(part) && (!whole.is_empty() || !part.is_empty())
        }
        None => digits(mantissa) && !mantissa.is_empty(),
    };
    let exponent_shaped = exponent.is_empty() || {
        let exponent = &exponent[1..];
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    };
    if !shaped || !exponent_shaped {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e')?;
    let power: i32 = exponent.parse().ok()?;
    // very great and very small ones with an exponent, as Go prints them
    if (-4..6).contains(&power) {
        return Some(number.to_string());
    }
    let sign = if power < 0 { '-' } else { '+' };
    Some(format!("{mantissa}e{sign}{:02}", power.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_quotes_arrive_as_docker_compose_writes_them() {
        for (written, arrives) in [
            ("yes", "yes"),
            ("on", "on"),
            ("y", "y"),
            ("1.10", "1.1"),
            ("0x1F", "31"),
            ("1e3", "1000"),
            ("007", "7"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("True", "true"),
            ("FALSE", "false"),
            ("1_000", "1000"),
            (".5", "0.5"),
            ("12345678901234567890", "12345678901234567890"),
            ("1.0", "1"),
            ("-0", "0"),
            ("+5", "5"),
            ("-12", "-12"),
            (".inf", "+Inf"),
            ("1e21", "1e+21"),
            ("100000.0", "100000"),
            ("1000000.0", "1e+06"),
            ("1234567.5", "1.2345675e+06"),
            ("0.00001", "1e-05"),
            ("0.0001", "0.0001"),
            ("-1.50", "-1.5"),
            ("-0.0", "-0"),
            ("-0x1F", "-31"),
            ("010", "8"),
            ("019", "19"),
            ("-9223372036854775809", "-9.223372036854776e+18"),
            ("0x", "0x"),
            ("1_0.5_0", "10.5"),
            ("0.1e-7", "1e-08"),
            ("1:20", "1:20"),
            ("2001-01-01", "2001-01-01"),
            ("1.2.3", "1.2.3"),
            ("08", "8"),
            ("-", "-"),
            (".", "."),
            ("1e", "1e"),
            ("http://x", "http://x"),
            ("PT1H", "PT1H"),
            ("", ""),
        ] {
            assert_eq!(arriving(written), arrives, "{written}");
        }
    }
}
